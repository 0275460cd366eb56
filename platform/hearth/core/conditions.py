"""The conditions of policy statements.

Rule 1: an operator that nobody here knows, or a value it cannot read, is answered with what is safe: `if_unknown`.
Rule 2: keys are told apart without regard to case; of a condition's values one must fit, of negated ones none may.
Rule 3: where a request has several values and the policy does not say how many must fit, it is again what is safe: for
a permission all of them, for a denial any.
Source: "IAM JSON policy elements: Condition operators" and "Set operators for multi-valued context keys",
AWS IAM user guide.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address, ip_network

from hearth.core.policy_document import Condition
from hearth.core.policy_variables import Values, Variables, arn_fits, resolve, text_fits

__all__ = ["Values", "holds"]

Test = Callable[[str, str, Variables], bool]
"""Whether a policy's value accepts a request's value. Raises ValueError for a policy's value that makes no sense."""

_NEGATED = "Not"


def holds(condition: Condition, values: Values, variables: Variables, *, if_unknown: bool) -> bool:
    """Whether the condition is met by a request with these values."""
    quantifier, _, operator = condition.operator.rpartition(":")
    given = values.get(condition.key.lower(), ())
    if operator == "Null" and not quantifier:
        return _null(condition.values, is_absent=not given, if_unknown=if_unknown)
    name = operator.removesuffix("IfExists")
    test = _TESTS.get(name)
    if test is None or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        return if_unknown
    if not given:
        return name != operator or quantifier == "ForAllValues" or (_is_negated(name) and not quantifier)
    try:
        fits = [any(test(wanted, value, variables) for wanted in condition.values) for value in given]
    except ValueError:
        return if_unknown
    outcomes = [fit is not _is_negated(name) for fit in fits]
    wants_all = quantifier == "ForAllValues" or not (quantifier or if_unknown)
    return all(outcomes) if wants_all else any(outcomes)


def _is_negated(operator: str) -> bool:
    return _NEGATED in operator


def _null(wanted: tuple[str, ...], *, is_absent: bool, if_unknown: bool) -> bool:
    texts = {text.lower() for text in wanted}
    if not texts or not texts <= {"true", "false"}:
        return if_unknown
    return ("true" if is_absent else "false") in texts


def _literal(wanted: str, variables: Variables) -> str | None:
    """A policy's value without wildcards: there they are characters like any other."""
    if variables is None or "${" not in wanted:
        return wanted
    parts = resolve(wanted, variables)
    return None if parts is None else "".join(part if isinstance(part, str) else part.value for part in parts)


def _equals(wanted: str, value: str, variables: Variables) -> bool:
    return _literal(wanted, variables) == value


def _equals_ignoring_case(wanted: str, value: str, variables: Variables) -> bool:
    literal = _literal(wanted, variables)
    return literal is not None and literal.casefold() == value.casefold()


def _like(wanted: str, value: str, variables: Variables) -> bool:
    return text_fits(wanted, value, variables) is True


def _arn_like(wanted: str, value: str, variables: Variables) -> bool:
    return arn_fits(wanted, value, variables) is True


def _bool(wanted: str, value: str, variables: Variables) -> bool:
    return wanted.lower() == value.lower()


def _ip(wanted: str, value: str, variables: Variables) -> bool:
    network = ip_network(wanted, strict=False)
    try:
        address = ip_address(value)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address) in network


def _numeric(compare: Callable[[Decimal, Decimal], bool]) -> Test:
    def test(wanted: str, value: str, variables: Variables) -> bool:
        limit = _number(wanted)
        try:
            return compare(_number(value), limit)
        except ValueError:
            return False

    return test


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is not a number") from error
    if not number.is_finite():
        raise ValueError(f"{text!r} is not a number")
    return number


def _date(compare: Callable[[Decimal, Decimal], bool]) -> Test:
    def test(wanted: str, value: str, variables: Variables) -> bool:
        limit = _seconds(wanted)
        try:
            return compare(_seconds(value), limit)
        except ValueError:
            return False

    return test


def _seconds(text: str) -> Decimal:
    """A time as epoch seconds, of the W3C's profile of ISO 8601 or epoch seconds already."""
    if text.isascii() and text.removeprefix("-").isdigit():
        return Decimal(text)
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Decimal(moment.timestamp())


def _ordered(family: str, make: Callable[[Callable[[Decimal, Decimal], bool]], Test]) -> dict[str, Test]:
    equals = make(lambda value, limit: value == limit)
    return {
        f"{family}Equals": equals,
        f"{family}NotEquals": equals,
        f"{family}LessThan": make(lambda value, limit: value < limit),
        f"{family}LessThanEquals": make(lambda value, limit: value <= limit),
        f"{family}GreaterThan": make(lambda value, limit: value > limit),
        f"{family}GreaterThanEquals": make(lambda value, limit: value >= limit),
    }


_TESTS: Mapping[str, Test] = {
    "StringEquals": _equals,
    "StringNotEquals": _equals,
    "StringEqualsIgnoreCase": _equals_ignoring_case,
    "StringNotEqualsIgnoreCase": _equals_ignoring_case,
    "StringLike": _like,
    "StringNotLike": _like,
    "ArnEquals": _arn_like,
    "ArnNotEquals": _arn_like,
    "ArnLike": _arn_like,
    "ArnNotLike": _arn_like,
    "Bool": _bool,
    "BinaryEquals": _equals,
    "IpAddress": _ip,
    "NotIpAddress": _ip,
    **_ordered("Numeric", _numeric),
    **_ordered("Date", _date),
}
"""Every operator with its test; the negated ones turn the answer round."""
