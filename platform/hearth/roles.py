"""The IAM roles and customer managed policies of this installation: in memory, every change durable first.

Rule 1: the store is written before memory. Rule 2: one writer at a time (`changing`); readers never wait.
Rule 3: a role that nobody made has no permissions: functions may name one, and can do nothing with it.
State: `_roles`, `_policies` and `_documents` are changed by `load`, `put` and `remove` only.
"""

import asyncio
from typing import Protocol

import structlog

from hearth.core.aws_policies import AWS_POLICIES
from hearth.core.policy_document import MalformedPolicy, PolicyDocument, parse_policy
from hearth.core.roles import ManagedPolicy, Role, role_name
from hearth.role_wire import decode, encode
from hearth.wire import StoredRecordError


class Records(Protocol):
    """The durable home of roles and policies, by key. The same promises as `hearth.ports.FunctionStore`."""

    async def load_all(self) -> dict[str, bytes]: ...

    async def put(self, key: str, record: bytes, /) -> None: ...

    async def delete(self, key: str, /) -> None: ...


class RoleStore:
    """Every role and every customer managed policy."""

    def __init__(self, store: Records) -> None:
        self._store = store
        self._roles: dict[str, Role] = {}
        self._policies: dict[str, ManagedPolicy] = {}
        self._documents: dict[str, tuple[PolicyDocument, ...]] = {}
        self.changing = asyncio.Lock()
        """To be held from reading what a change depends on until it is made."""

    async def load(self) -> None:
        """Take in what the store has. A record that cannot be read is reported and left where it is."""
        for key, stored in (await self._store.load_all()).items():
            try:
                self._take(decode(stored))
            except StoredRecordError as error:
                structlog.get_logger().error("role record unreadable", key=key, error=str(error))

    def role(self, name: str) -> Role | None:
        return self._roles.get(name)

    def roles(self) -> list[Role]:
        """Every role in order of name."""
        return sorted(self._roles.values(), key=lambda role: role.name)

    def policy(self, arn: str) -> ManagedPolicy | None:
        """The managed policy of this ARN, AWS's own included."""
        return self._policies.get(arn) or AWS_POLICIES.get(arn)

    def policies(self) -> list[ManagedPolicy]:
        """Every customer managed policy in order of name."""
        return sorted(self._policies.values(), key=lambda policy: policy.name)

    def holders(self, policy_arn: str) -> list[Role]:
        """The roles that this policy is attached to."""
        return [role for role in self.roles() if policy_arn in role.attached]

    def exists(self, role_arn: str) -> bool:
        """Whether somebody made this role; the path counts."""
        role = self._roles.get(role_name(role_arn))
        return role is not None and role.arn == role_arn

    def policies_of(self, role_arn: str) -> tuple[PolicyDocument, ...]:
        """What the role may do, as it is now. On the path of every request that a role signs."""
        found = self._documents.get(role_arn)
        if found is None and self.exists(role_arn):
            found = self._documents[role_arn] = self._parsed(self._roles[role_name(role_arn)])
        return found or ()

    async def put(self, record: Role | ManagedPolicy) -> None:
        """Make this the role or policy of its name, durably. With `changing` held."""
        await self._store.put(_key(record), encode(record))
        self._take(record)

    async def remove(self, record: Role | ManagedPolicy) -> None:
        """Forget it, durably. With `changing` held."""
        await self._store.delete(_key(record))
        self._documents.clear()
        match record:
            case Role():
                self._roles.pop(record.name, None)
            case ManagedPolicy():
                self._policies.pop(record.arn, None)

    def _take(self, record: Role | ManagedPolicy) -> None:
        self._documents.clear()
        match record:
            case Role():
                self._roles[record.name] = record
            case ManagedPolicy():
                self._policies[record.arn] = record

    def _parsed(self, role: Role) -> tuple[PolicyDocument, ...]:
        managed = (self.policy(arn) for arn in role.attached)
        texts = [*role.inline.values(), *(policy.document for policy in managed if policy is not None)]
        try:
            return tuple(map(parse_policy, texts))
        except MalformedPolicy as error:
            # They were checked when they were written. The others may not be used without this one: it may deny.
            structlog.get_logger().error("role policy unreadable", role=role.name, error=str(error))
            return ()


def _key(record: Role | ManagedPolicy) -> str:
    return f"role:{record.name}" if isinstance(record, Role) else f"policy:{record.arn}"
