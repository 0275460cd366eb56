"""The patterns of policies: wildcards, variables and ARNs.

Rule 1: the value of a variable is taken literally, whatever wildcards it holds: nobody may widen a policy with a name.
Rule 2: the six fields of an ARN are compared one by one, so that a star in one of them does not run into the next.
Source: "IAM policy elements: Variables and tags" and "Resource" in the AWS IAM user guide.
"""

import re
from collections.abc import Mapping

from hearth.core import wildcards
from hearth.core.policy_document import Patterns
from hearth.core.wildcards import Token

Values = Mapping[str, tuple[str, ...]]
"""The values of condition keys, by lower-case name."""

_ARN_FIELDS = 6
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_ESCAPES = frozenset("*?$")


def matches_action(patterns: Patterns, action: str) -> bool:
    """Whether the action is meant; upper and lower case are the same."""
    lower = action.lower()
    return any(wildcards.matches(p.lower(), lower) for p in patterns.patterns) is not patterns.is_negated


def matches_resource(patterns: Patterns, resource: str, variables: Values | None) -> bool:
    """Whether the resource is meant. A variable without a value means nothing, negated or not."""
    resolved = [resolve(pattern, variables) for pattern in patterns.patterns]
    if patterns.is_negated and None in resolved:
        return False
    return any(p is not None and arn_fits(p, resource) for p in resolved) is not patterns.is_negated


def text_fits(pattern: list[Token], text: str) -> bool:
    """Whether the whole text fits the pattern."""
    return wildcards.glob(pattern).matches(text)


def arn_fits(pattern: list[Token], arn: str) -> bool:
    """Whether the ARN fits, field by field. Fields that the pattern does not have may be anything."""
    if pattern == [wildcards.Wildcard.ANY]:
        return True
    wanted, given = _fields(pattern), arn.split(":", _ARN_FIELDS - 1)
    if len(given) < _ARN_FIELDS:
        return text_fits(pattern, arn)
    wanted += [[wildcards.Wildcard.ANY]] * (_ARN_FIELDS - len(wanted))
    return all(text_fits(field, text) for field, text in zip(wanted, given, strict=True))


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


def resolve(pattern: str, variables: Values | None) -> list[Token] | None:
    """The pattern with the values of its variables; None if one has no value. No `variables`: there are none."""
    if variables is None or "${" not in pattern:
        return wildcards.tokens(pattern)
    parts: list[Token] = []
    end = 0
    for found in _VARIABLE.finditer(pattern):
        value = _value(found[1], variables)
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
