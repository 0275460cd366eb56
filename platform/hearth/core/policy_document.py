"""Policy documents of IAM, read from JSON and kept as values.

Rule 1: what cannot be understood is refused when it is written, not when somebody is judged by it. Two things are
left to the judgement: operators nobody knows yet, and values an operator cannot read (`core/conditions.py`).
Source: "IAM JSON policy elements reference" and "Grammar of the IAM JSON policy language", AWS IAM user guide.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

MAX_TEXT = 131_072
"""Characters of a document, more than any service allows."""
VERSIONS = ("2012-10-17", "2008-10-17")

_MEMBERS = frozenset({"Version", "Id", "Statement"})
_STATEMENT_MEMBERS = frozenset({
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"
})  # fmt: skip
_PRINCIPAL_TYPES = frozenset({"AWS", "Service", "Federated", "CanonicalUser"})


class MalformedPolicy(ValueError):
    """A text that is no policy; the message says what is wrong with it."""


class Effect(Enum):
    """What a statement does when it applies."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class Patterns:
    """An element that lists patterns; negated it means whatever none of them matches (`NotAction`, `NotResource`)."""

    patterns: tuple[str, ...]
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Parties:
    """A `Principal` element: pairs of type (`AWS`, `Service`, ...) and name. `*` alone is ("AWS", "*")."""

    names: tuple[tuple[str, str], ...]
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of one operator. Several of them must all hold; of the values, any one."""

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. No `resources`: whatever the policy is attached to. No `parties`: whoever has the policy."""

    effect: Effect
    actions: Patterns
    resources: Patterns | None = None
    parties: Parties | None = None
    conditions: tuple[Condition, ...] = ()
    sid: str = ""


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy. Variables (`${aws:username}`) are a feature of version 2012-10-17."""

    statements: tuple[Statement, ...]
    version: str = VERSIONS[0]

    @property
    def has_variables(self) -> bool:
        return self.version == VERSIONS[0]


@lru_cache(maxsize=1024)
def parse_policy(text: str) -> PolicyDocument:
    """The policy of a JSON text. Raises MalformedPolicy."""
    if len(text) > MAX_TEXT:
        raise MalformedPolicy(f"The policy is longer than {MAX_TEXT} characters.")
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except MalformedPolicy:
        raise
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are a ValueError only
        raise MalformedPolicy(f"The policy is not valid JSON: {error}") from error
    return policy_of(value)


def policy_of(value: object) -> PolicyDocument:
    """The policy of a JSON value. Raises MalformedPolicy."""
    members = _members(value, "The policy", _MEMBERS)
    version = members.get("Version", VERSIONS[1])
    if version not in VERSIONS:
        raise MalformedPolicy(f"The policy's Version must be one of {', '.join(VERSIONS)}.")
    if "Statement" not in members:
        raise MalformedPolicy("The policy has no Statement.")
    return PolicyDocument(statements_of(_listed(members["Statement"])), version)


def statements_of(values: Iterable[object]) -> tuple[Statement, ...]:
    """Statements, each of a JSON value. Raises MalformedPolicy."""
    statements = tuple(_statement(value) for value in values)
    if not statements:
        raise MalformedPolicy("The policy has no Statement.")
    return statements


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A member given twice is an error: whoever reads the document must not overlook one of the two."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedPolicy("The policy names a member twice.")
    return members


def _members(value: object, what: str, known: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise MalformedPolicy(f"{what} is not an object.")
    unknown = value.keys() - known
    if unknown:
        raise MalformedPolicy(f"{what} has an unknown member: {min(map(str, unknown))}.")
    return value


def _statement(value: object) -> Statement:
    members = _members(value, "A statement", _STATEMENT_MEMBERS)
    effect = members.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise MalformedPolicy('A statement\'s Effect must be "Allow" or "Deny".')
    actions = _patterns(members, "Action", "NotAction")
    if actions is None:
        raise MalformedPolicy("A statement has no Action.")
    parties, resources = _parties(members), _patterns(members, "Resource", "NotResource")
    if parties is None and resources is None:
        raise MalformedPolicy("A statement has no Resource.")
    sid = members.get("Sid", "")
    if not isinstance(sid, str):
        raise MalformedPolicy("A statement's Sid must be a string.")
    return Statement(Effect(effect), actions, resources, parties, _conditions(members.get("Condition", {})), sid)


def _patterns(members: Mapping[str, Any], name: str, negated: str) -> Patterns | None:
    if name in members and negated in members:
        raise MalformedPolicy(f"A statement has both {name} and {negated}.")
    for member in (name, negated):
        if member in members:
            return Patterns(_strings(members[member], member), is_negated=member == negated)
    return None


def _parties(members: Mapping[str, Any]) -> Parties | None:
    if "Principal" in members and "NotPrincipal" in members:
        raise MalformedPolicy("A statement has both Principal and NotPrincipal.")
    for member in ("Principal", "NotPrincipal"):
        if member in members:
            return Parties(_party_names(members[member]), is_negated=member == "NotPrincipal")
    return None


def _party_names(value: object) -> tuple[tuple[str, str], ...]:
    if value == "*":
        return (("AWS", "*"),)
    groups = _members(value, "A statement's Principal", _PRINCIPAL_TYPES)
    names = tuple((kind, name) for kind, given in groups.items() for name in _strings(given, "Principal"))
    if not names:
        raise MalformedPolicy("A statement's Principal names nobody.")
    return names


def _conditions(value: object) -> tuple[Condition, ...]:
    if not isinstance(value, Mapping):
        raise MalformedPolicy("A statement's Condition is not an object.")
    conditions: list[Condition] = []
    for operator, keys in value.items():
        if not isinstance(keys, Mapping):
            raise MalformedPolicy(f"The condition {operator} is not an object.")
        conditions += [Condition(operator, key, _condition_values(given, key)) for key, given in keys.items()]
    return tuple(conditions)


def _condition_values(value: object, key: str) -> tuple[str, ...]:
    values = _listed(value)
    if not all(isinstance(each, str | bool | int | float) for each in values):
        raise MalformedPolicy(f"The values of the condition key {key} must be strings, numbers or booleans.")
    return tuple(each if isinstance(each, str) else json.dumps(each) for each in values)


def _strings(value: object, member: str) -> tuple[str, ...]:
    values = _listed(value)
    if not values or not all(isinstance(each, str) and each for each in values):
        raise MalformedPolicy(f"A statement's {member} must be a string or a list of strings.")
    return tuple(values)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
