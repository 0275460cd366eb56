"""Roles and managed policies as bytes: how they lie in the store.

A document is `{"schema_version": 1, "role": {...}}` or `{..., "policy": {...}}`. Members that a reader does not know
are ignored and missing ones take their defaults, so records survive an upgrade and a step back.
"""

from pydantic import BaseModel, ValidationError

from hearth.core.roles import ManagedPolicy, Role
from hearth.wire import StoredRecordError

SCHEMA = 1


class _Document(BaseModel):
    schema_version: int
    role: Role | None = None
    policy: ManagedPolicy | None = None


def encode(record: Role | ManagedPolicy) -> bytes:
    """A role or policy as it is stored."""
    match record:
        case Role():
            document = _Document(schema_version=SCHEMA, role=record)
        case ManagedPolicy():
            document = _Document(schema_version=SCHEMA, policy=record)
    return document.model_dump_json(exclude_none=True).encode()


def decode(stored: bytes) -> Role | ManagedPolicy:
    """A stored role or policy."""
    try:
        document = _Document.model_validate_json(stored)
    except ValidationError as error:
        raise StoredRecordError(str(error)) from error
    found = document.role or document.policy
    if document.schema_version > SCHEMA or found is None:
        raise StoredRecordError(f"not a role or policy of schema {SCHEMA} or older")
    return found
