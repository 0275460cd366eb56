"""The patterns of policies: wildcards, variables and ARNs.

Rule 1: the value of a variable is taken literally, whatever wildcards it holds: nobody may widen a policy with a name.
Rule 2: the six fields of an ARN are compared one by one, so that a star in one of them does not run into the next.
Source: "IAM policy elements: Variables and tags" and "Resource" in the AWS IAM user guide.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from hearth.core import wildcards
from hearth.core.policy_document import Patterns
from hearth.core.wildcards import Glob, Token, Wildcard

Values = Mapping[str, tuple[str, ...]]
"""The values of condition keys, by lower-case name."""

Variables = Callable[[], Values] | None
"""Gives the values of variables; None: there are none."""

_ARN_FIELDS = 6
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_ESCAPES = frozenset("*?$")


def matches_action(patterns: Patterns, action: str) -> bool:
    """Whether the action is meant; upper and lower case are the same."""
    lower = action.lower()
    return any(wildcards.matches(p.lower(), lower) for p in patterns.patterns) is not patterns.is_negated


def matches_resource(patterns: Patterns, resource: str, variables: Variables) -> bool:
    """Whether the resource is meant. A variable without a value means nothing, negated or not."""
    fits = [arn_fits(pattern, resource, variables) for pattern in patterns.patterns]
    if patterns.is_negated:
        return all(fit is False for fit in fits)
    return any(fits)


def text_fits(pattern: str, text: str, variables: Variables) -> bool | None:
    """Whether the whole text fits the pattern; None if a variable in it has no value."""
    if not _has_variable(pattern, variables):
        return wildcards.matches(pattern, text)
    parts = resolve(pattern, variables)
    return None if parts is None else wildcards.glob(parts).matches(text)


def arn_fits(pattern: str, arn: str, variables: Variables) -> bool | None:
    """Whether the ARN fits, field by field; None if a variable has no value. Fields that the pattern does not have
    may be anything."""
    if pattern == "*":
        return True
    if not _has_variable(pattern, variables):
        return _constant(pattern).matches(arn)
    parts = resolve(pattern, variables)
    return None if parts is None else _arn_pattern(parts).matches(arn)


class _ArnPattern(NamedTuple):
    """A pattern as a whole and by fields; a field without wildcards is its text, None is anything."""

    whole: Glob
    fields: tuple[Glob | str | None, ...]

    def matches(self, arn: str) -> bool:
        given = arn.split(":", _ARN_FIELDS - 1)
        if len(given) < _ARN_FIELDS:
            return self.whole.matches(arn)
        for field, text in zip(self.fields, given, strict=False):
            if isinstance(field, str):
                if field != text:
                    return False
            elif field is not None and not field.matches(text):
                return False
        return True


@lru_cache(maxsize=4096)
def _constant(pattern: str) -> _ArnPattern:
    return _arn_pattern(wildcards.tokens(pattern))


def _arn_pattern(parts: list[Token]) -> _ArnPattern:
    return _ArnPattern(wildcards.glob(parts), tuple(_field(field) for field in _fields(parts)))


def _field(parts: list[Token]) -> Glob | str | None:
    if parts == [Wildcard.ANY]:
        return None
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(parts) else wildcards.glob(parts)


def _fields(pattern: list[Token]) -> list[list[Token]]:
    """A pattern, cut at its first five colons."""
    fields: list[list[Token]] = [[]]
    for token in pattern:
        if not isinstance(token, str):
            fields[-1].append(token)
            continue
        first, *rest = token.split(":", _ARN_FIELDS - len(fields))
        fields[-1].append(first)
        fields += [[text] for text in rest]
    return fields


def _has_variable(pattern: str, variables: Variables) -> bool:
    return variables is not None and "${" in pattern


def resolve(pattern: str, variables: Variables) -> list[Token] | None:
    """The pattern with the values of its variables; None if one has no value. No `variables`: there are none."""
    if variables is None or not _has_variable(pattern, variables):
        return wildcards.tokens(pattern)
    parts: list[Token] = []
    end = 0
    for found in _VARIABLE.finditer(pattern):
        value = _value(found[1], variables())
        if value is None:
            return None
        parts += [*wildcards.tokens(pattern[end : found.start()]), value]
        end = found.end()
    return parts + wildcards.tokens(pattern[end:])


def _value(variable: str, variables: Values) -> str | None:
    """A variable's value: an escaped character, the one value of a key, or the default behind a comma."""
    if variable in _ESCAPES:
        return variable
    key, comma, default = variable.partition(",")
    values = variables.get(key.strip().lower(), ())
    if len(values) == 1:
        return values[0]
    quoted = default.strip()
    return quoted[1:-1] if comma and len(quoted) > 1 and quoted[0] == quoted[-1] == "'" else None
