"""The access keys of this installation: who can sign a request here, and with what.

Rule 1: the key of the installation is the administrator's; it is made by the first start and lies in a file.
Rule 2: keys made later are users, each with policies of its own. The store is written before memory, so a key that was
shown works after a crash, and one that was revoked stays so.
Rule 3: temporary keys are not kept at all (`core/identity.py`); they end with the role or key they came from.
State: `_keys` is changed by `load`, `create` and `revoke` only, `_admin` by `rotate` only.
"""

import asyncio
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache

import orjson
import structlog

from hearth.core import identity
from hearth.core.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from hearth.core.identity import (
    Credential,
    Principal,
    Refusal,
    RolePolicies,
    Session,
    SessionCredentials,
    SessionIssuer,
    UnknownToken,
)
from hearth.core.policy_document import MalformedPolicy, PolicyDocument, parse_policy
from hearth.ports import AccessKeyStore

MAX_KEYS = 10_000
MAX_POLICY_LENGTH = 6_144
"""Characters of one policy of a key: a managed policy's limit (IAM and AWS STS quotas)."""
MAX_POLICIES = 10

_USER_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ID_LENGTH = 16
_SECRET_BYTES = 30
_KNOWN_SESSIONS = 1024


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A long-term key of a user. `policies` are JSON texts; `created_s` is epoch seconds."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    user: str = ""
    policies: tuple[str, ...] = ()
    created_s: int = 0


KeepAdmin = Callable[[AccessKey], Awaitable[None]]
"""Writes the administrator's key down, durably."""


async def _nowhere(key: AccessKey) -> None:
    """Where the administrator's key is not kept."""


class AccessKeys:
    """Every key: the `Identities` of this installation."""

    def __init__(
        self,
        store: AccessKeyStore,
        account: str,
        admin: AccessKey,
        issuer: SessionIssuer,
        *,
        keep_admin: KeepAdmin = _nowhere,
    ) -> None:
        self._store = store
        self._account = account
        self._issuer = issuer
        self._admin = _admin(admin, account)
        self._keep_admin = keep_admin
        self._keys: dict[str, tuple[AccessKey, Credential]] = {}
        self._writing = asyncio.Lock()
        self._read = lru_cache(maxsize=_KNOWN_SESSIONS)(issuer.read)
        self.role_policies: RolePolicies = _no_role

    def __len__(self) -> int:
        return len(self._keys) + 1

    def __iter__(self) -> Iterator[AccessKey]:
        """Every key of a user, oldest first."""
        return iter(sorted((key for key, _ in self._keys.values()), key=lambda key: key.created_s))

    async def load(self) -> None:
        """Take in what the store has. A key that cannot be read is reported, and opens nothing."""
        for access_key_id, stored in (await self._store.load_all()).items():
            try:
                members = orjson.loads(stored)
                key = AccessKey(**{**members, "policies": tuple(members["policies"])})
                self._keys[access_key_id] = (key, self._credential(key))
            except (ValueError, TypeError, KeyError) as error:
                structlog.get_logger().error("access key unreadable", access_key=access_key_id, error=str(error))

    async def create(self, user: str, policies: Sequence[str], now_s: float) -> AccessKey:
        """A new key for this user, durable when this returns. Its secret is in the answer and nowhere else."""
        _check(user, policies)
        key = _new_key(user, policies, now_s)
        async with self._writing:
            if len(self._keys) >= MAX_KEYS:
                raise ResourceConflict(f"There are {MAX_KEYS} access keys already. Revoke one first.")
            await self._store.put(key.access_key_id, orjson.dumps(asdict(key)))
            self._keys[key.access_key_id] = (key, self._credential(key))
        return key

    async def revoke(self, access_key_id: str) -> None:
        """The key is worth nothing from now on, nor are sessions that came from it."""
        async with self._writing:
            if access_key_id not in self._keys:
                raise ResourceNotFound(f"There is no access key {access_key_id}.")
            await self._store.delete(access_key_id)
            del self._keys[access_key_id]

    async def rotate(self, now_s: float) -> AccessKey:
        """A new key for the administrator; the old one is worth nothing from now on, nor are its sessions."""
        key = _new_key("", (), now_s)
        async with self._writing:
            await self._keep_admin(key)
            self._admin = _admin(key, self._account)
        return key

    def issue_session(
        self, subject: str, session_name: str, now_s: float, lifetime_s: float, *, policy: str = ""
    ) -> SessionCredentials:
        """Temporary credentials; see `SessionIssuer.issue_session`."""
        return self._issuer.issue_session(subject, session_name, now_s, lifetime_s, policy=policy)

    def secret_of(self, access_key_id: str, session_token: str, now_s: float) -> Credential | Refusal:
        """The credential of a key."""
        if session_token:
            return self._of_session(access_key_id, session_token, now_s)
        return self._of_key(access_key_id) or Refusal.UNKNOWN

    def _of_key(self, access_key_id: str) -> Credential | None:
        if access_key_id == self._admin.principal.access_key_id:
            return self._admin
        found = self._keys.get(access_key_id)
        return None if found is None else found[1]

    def _of_session(self, access_key_id: str, token: str, now_s: float) -> Credential | Refusal:
        try:
            session = self._read(token)
        except UnknownToken:
            return Refusal.UNKNOWN
        if not hmac.compare_digest(session.access_key_id.encode(), access_key_id.encode()):
            return Refusal.UNKNOWN
        if now_s >= session.expires_s:
            return Refusal.EXPIRED
        owner = self._owner(session)
        if owner is None:
            return Refusal.UNKNOWN
        return Credential(session.secret_access_key, identity.in_session(owner, session))

    def _owner(self, session: Session) -> Principal | None:
        if not session.subject.startswith("arn:"):
            found = self._of_key(session.subject)
            return None if found is None else found.principal
        policies = self.role_policies(session.subject)
        return None if policies is None else identity.assumed_role(session.subject, session.name, policies)

    def _credential(self, key: AccessKey) -> Credential:
        policies = tuple(parse_policy(text) for text in key.policies)
        principal = identity.user(self._account, key.user, policies, key.access_key_id)
        return Credential(key.secret_access_key, principal)


def _admin(key: AccessKey, account: str) -> Credential:
    return Credential(key.secret_access_key, identity.root(account, key.access_key_id))


def _new_key(user: str, policies: Sequence[str], now_s: float) -> AccessKey:
    access_key_id = "AKIA" + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
    return AccessKey(access_key_id, secrets.token_urlsafe(_SECRET_BYTES), user, tuple(policies), int(now_s))


def _no_role(role_arn: str) -> tuple[PolicyDocument, ...] | None:
    """Until somebody keeps roles there are none."""
    return None


def _check(user: str, policies: Sequence[str]) -> None:
    if not _USER_NAME.fullmatch(user):
        raise InvalidParameterValue("A user's name has 1 to 64 characters of letters, digits and _+=,.@-")
    if len(policies) > MAX_POLICIES:
        raise InvalidParameterValue(f"A key has at most {MAX_POLICIES} policies.")
    for text in policies:
        if len(text) > MAX_POLICY_LENGTH:
            raise InvalidParameterValue(f"A policy has at most {MAX_POLICY_LENGTH} characters.")
        try:
            document = parse_policy(text)
        except MalformedPolicy as error:
            raise InvalidParameterValue(f"The policy cannot be read: {error}") from error
        if any(statement.parties is not None for statement in document.statements):
            raise InvalidParameterValue("The policy of a key has no Principal: it is about whoever has the key.")
