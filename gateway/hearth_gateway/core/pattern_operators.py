"""What the leaf of an event pattern can ask of a value, and how it is written.

Rule 1: an operator is satisfied by one value. Who has many, an array, is satisfied by any of them; `event_pattern`
sees to that, and to `exists: false`, which is about no value at all.
Rule 2: numbers compare by value, exactly: 300 is 300.0 and 3.0e2. AWS takes numbers up to 5.0e9 in patterns; here
any number will do, so that times in milliseconds can be compared.
Source: "Comparison operators for use in event patterns", Amazon EventBridge user guide; "Filter rule syntax", AWS
Lambda developer guide.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from hearth.core.wildcards import Glob, Token, Wildcard, glob

IGNORING_CASE = "equals-ignore-case"
RANGE_LENGTHS = (2, 4)


class InvalidPattern(Exception):
    """The text is no pattern; the message says why, in the words of EventBridge where they are known."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these strings, numbers or constants (true, false, null)."""

    texts: frozenset[str] = frozenset()
    numbers: frozenset[float] = frozenset()
    constants: frozenset[bool | None] = frozenset()

    def holds(self, value: object) -> bool:
        match value:
            case str():
                return value in self.texts
            case bool() | None:
                return value in self.constants
            case int() | float():
                return value in self.numbers
            case _:
                return False


@dataclass(frozen=True, slots=True)
class Begins:
    """A string that begins so."""

    text: str
    ignores_case: bool = False

    def holds(self, value: object) -> bool:
        if not isinstance(value, str):
            return False
        return (value.lower() if self.ignores_case else value).startswith(self.text)


@dataclass(frozen=True, slots=True)
class Ends:
    """A string that ends so."""

    text: str
    ignores_case: bool = False

    def holds(self, value: object) -> bool:
        if not isinstance(value, str):
            return False
        return (value.lower() if self.ignores_case else value).endswith(self.text)


@dataclass(frozen=True, slots=True)
class SameLetters:
    """This string in any case; `text` is in lower case."""

    text: str

    def holds(self, value: object) -> bool:
        return isinstance(value, str) and value.lower() == self.text


@dataclass(frozen=True, slots=True)
class Fits:
    """A string that fits a glob of stars."""

    glob: Glob

    def holds(self, value: object) -> bool:
        return isinstance(value, str) and self.glob.matches(value)


@dataclass(frozen=True, slots=True)
class Between:
    """A number between two bounds, each its own or not; None is no bound."""

    low: float | None
    high: float | None
    has_low: bool = True
    has_high: bool = True

    def holds(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self._is_above(value) and self._is_below(value)

    def _is_above(self, value: float) -> bool:
        return self.low is None or value > self.low or (self.has_low and value == self.low)

    def _is_below(self, value: float) -> bool:
        return self.high is None or value < self.high or (self.has_high and value == self.high)


@dataclass(frozen=True, slots=True)
class Within:
    """An address of this network."""

    network: IPv4Network | IPv6Network

    def holds(self, value: object) -> bool:
        if not isinstance(value, str):
            return False
        try:
            return ip_address(value) in self.network
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Anything:
    """Whatever is there."""

    def holds(self, value: object) -> bool:
        del value
        return True


@dataclass(frozen=True, slots=True)
class AnythingBut:
    """A value that none of these operators is satisfied by."""

    refused: tuple["Operator", ...]

    def holds(self, value: object) -> bool:
        return not any(operator.holds(value) for operator in self.refused)


Operator = OneOf | Begins | Ends | SameLetters | Fits | Between | Within | Anything | AnythingBut


def read_operator(written: Mapping[str, Any]) -> Operator:
    """The operator that an object in a leaf is; not for `exists: false`. Raises InvalidPattern."""
    name, operand = the_one_key(written)
    reader = _READERS.get(name)
    if reader is None:
        raise InvalidPattern(f"Unrecognized match type {name}")
    return reader(operand)


def the_one_key(written: Mapping[str, Any]) -> tuple[str, Any]:
    """The name and the operand of an operator."""
    if len(written) != 1:
        raise InvalidPattern("Only one key allowed in match expression")
    return next(iter(written.items()))


def read_constants(values: list[Any]) -> OneOf:
    """The values that are to be equalled."""
    constants = frozenset(value for value in values if value is None or isinstance(value, bool))
    return OneOf(frozenset(value for value in values if isinstance(value, str)), _numbers(values), constants)


def is_number(value: object) -> bool:
    """Whether a value of JSON is a number: for Python, true and false are numbers as well."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(values: list[Any]) -> frozenset[float]:
    return frozenset(value for value in values if is_number(value))


def _prefix(operand: Any) -> Operator:
    text, ignores_case = _cased("prefix", operand)
    return Begins(text, ignores_case)


def _suffix(operand: Any) -> Operator:
    text, ignores_case = _cased("suffix", operand)
    return Ends(text, ignores_case)


def _cased(name: str, operand: Any) -> tuple[str, bool]:
    """The text of a prefix or suffix, and whether its case matters."""
    if isinstance(operand, dict):
        inner, text = the_one_key(operand)
        if inner != IGNORING_CASE:
            raise InvalidPattern(f"Unsupported anything-but or {name} pattern: {inner}")
        return _text(f"{name} {IGNORING_CASE}", text).lower(), True
    return _text(name, operand), False


def _ignoring_case(operand: Any) -> Operator:
    return SameLetters(_text(IGNORING_CASE, operand).lower())


def _wildcard(operand: Any) -> Operator:
    return Fits(glob(_tokens(_text("wildcard", operand))))


def _tokens(text: str) -> list[Token]:
    """A star stands for any text; a backslash makes the star or backslash behind it an ordinary character."""
    found: list[Token] = []
    characters = enumerate(text)
    for place, character in characters:
        if character == "\\":
            escaped = next(characters, (place, ""))[1]
            if escaped not in ("*", "\\"):
                raise InvalidPattern(f"Invalid escape character at pos {place}")
            found.append(escaped)
        elif character == "*":
            if found and found[-1] is Wildcard.ANY:
                raise InvalidPattern(f"Consecutive wildcard characters at pos {place - 1}")
            found.append(Wildcard.ANY)
        else:
            found.append(character)
    return found


def _exists(operand: Any) -> Operator:
    if operand is not True:
        raise InvalidPattern("exists match pattern must be either true or false.")
    return Anything()


def _cidr(operand: Any) -> Operator:
    text = _text("cidr", operand)
    if "/" not in text:
        raise InvalidPattern("Malformed CIDR, one '/' required")
    try:
        return Within(ip_network(text, strict=False))
    except ValueError as error:
        raise InvalidPattern(f"Malformed CIDR: {error}") from error


def _numeric(operand: Any) -> Operator:
    if not isinstance(operand, list):
        raise InvalidPattern("Value of numeric must be an array.")
    if len(operand) not in RANGE_LENGTHS:
        raise InvalidPattern("Too few or too many elements in numeric expression")
    if not all(map(is_number, operand[1::2])):
        raise InvalidPattern("Value of a numeric operator must be numeric")
    return _range(operand[0::2], operand[1::2])


def _range(signs: list[Any], numbers: list[float]) -> Operator:
    match signs:
        case ["="]:
            return Between(numbers[0], numbers[0])
        case [">" | ">="]:
            return Between(numbers[0], None, has_low=signs[0] == ">=")
        case ["<" | "<="]:
            return Between(None, numbers[0], has_high=signs[0] == "<=")
        case [">" | ">=", "<" | "<="] if numbers[0] < numbers[1]:
            return Between(numbers[0], numbers[1], has_low=signs[0] == ">=", has_high=signs[1] == "<=")
        case [">" | ">=", "<" | "<="]:
            raise InvalidPattern("Bottom must be less than top")
        case _:
            raise InvalidPattern("Unrecognized numeric range operator")


def _anything_but(operand: Any) -> Operator:
    match operand:
        case dict():
            name, inner = the_one_key(operand)
            reader = _REFUSABLE.get(name)
            if reader is None:
                raise InvalidPattern(f"Unsupported anything-but pattern: {name}")
            return AnythingBut(tuple(reader(one) for one in _non_empty(inner if isinstance(inner, list) else [inner])))
        case list():
            return AnythingBut((_listed(_non_empty(operand)),))
        case str() | int() | float() if not isinstance(operand, bool):
            return AnythingBut((read_constants([operand]),))
        case _:
            raise InvalidPattern("Value of anything-but must be an array or single string/number value.")


def _listed(values: list[Any]) -> Operator:
    """Strings or numbers, not both, as EventBridge has it."""
    if all(isinstance(value, str) for value in values) or all(is_number(value) for value in values):
        return read_constants(values)
    raise InvalidPattern(
        "Inside anything-but list, either all values are number or string, mixed type is not supported"
    )


def _non_empty(values: list[Any]) -> list[Any]:
    if not values:
        raise InvalidPattern("Empty arrays are not allowed")
    return values


def _refused_text(reader: Callable[[Any], Operator]) -> Callable[[Any], Operator]:
    """What refuses by an empty prefix or suffix refuses everything: that is a mistake."""

    def read(operand: Any) -> Operator:
        if operand == "":
            raise InvalidPattern("Null prefix/suffix not allowed")
        return reader(operand)

    return read


def _text(name: str, operand: Any) -> str:
    if not isinstance(operand, str):
        raise InvalidPattern(f"{name} match pattern must be a string")
    return operand


_READERS: Mapping[str, Callable[[Any], Operator]] = {
    "anything-but": _anything_but,
    "cidr": _cidr,
    IGNORING_CASE: _ignoring_case,
    "exists": _exists,
    "numeric": _numeric,
    "prefix": _prefix,
    "suffix": _suffix,
    "wildcard": _wildcard,
}

_REFUSABLE: Mapping[str, Callable[[Any], Operator]] = {
    IGNORING_CASE: _ignoring_case,
    "prefix": _refused_text(_prefix),
    "suffix": _refused_text(_suffix),
    "wildcard": _wildcard,
}

OPERATORS = frozenset(_READERS)
"""The names of all operators."""
