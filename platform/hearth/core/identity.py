"""Who calls: principals, the keys they sign with, and the temporary credentials of roles.

Rule 1: temporary credentials are stateless. The session token says whose they are and until when, and is
authenticated with the installation's master key; the secret is derived from the token. So environments keep theirs
over a restart of the daemon, and there is no table to fill.
Rule 2: what a session may do is not in its token but looked up with its role, each time: a change is effective at once.
Rule 3: the root of the account may do everything; nobody else may do anything that no policy allows.
Source: "IAM identifiers" and "Using temporary credentials with AWS resources", AWS IAM user guide.
"""

import hmac
import json
from base64 import b32encode, b64decode, b64encode
from binascii import Error as BinasciiError
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Protocol

from hearth.core.policy_document import MalformedPolicy, PolicyDocument, parse_policy

MASTER_KEY_BYTES = 32
_TAG_BYTES = 32
_SECRET_BYTES = 30
_ID_LENGTH = 17
_ID_OF_ACCESS_KEY_LENGTH = 16
MAX_TOKEN_LENGTH = 8_192


class PrincipalKind(Enum):
    """The kinds of principals; the value is `aws:PrincipalType` of the request."""

    ROOT = "Account"
    USER = "User"
    ASSUMED_ROLE = "AssumedRole"
    SERVICE = "Service"
    ANONYMOUS = "Anonymous"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request.

    `arn` is the user's, the root's or the session's (`arn:aws:sts::<account>:assumed-role/<role>/<session>`); of a
    service it is the service's name, such as `s3.amazonaws.com`. `user_id` is the `UserId` of GetCallerIdentity.
    `name` is the user's or the session's. `boundary`, a session policy, must allow as well if there is one.
    """

    arn: str
    account: str
    user_id: str
    kind: PrincipalKind
    policies: tuple[PolicyDocument, ...] = ()
    access_key_id: str = ""
    name: str = ""
    role_arn: str = ""
    boundary: PolicyDocument | None = None

    @property
    def is_admin(self) -> bool:
        """Whether everything in the account is allowed, without asking a policy."""
        return self.kind is PrincipalKind.ROOT and self.boundary is None


ANONYMOUS = Principal("*", "", "", PrincipalKind.ANONYMOUS)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a signature is checked with, and who made it if it is right."""

    secret: str = field(repr=False)
    principal: Principal


class Refusal(Enum):
    """Why there is no credential for an access key."""

    UNKNOWN = "unknown"  # no such key, or a token that is not this key's
    EXPIRED = "expired"  # a session that is over


class Identities(Protocol):
    """Everybody who can sign a request here."""

    def secret_of(self, access_key_id: str, session_token: str, now_s: float) -> Credential | Refusal:
        """The credential of this key. `session_token` is empty for a long-term key, `now_s` epoch seconds."""
        ...

    def __len__(self) -> int:
        """How many long-term keys there are."""
        ...


RolePolicies = Callable[[str], tuple[PolicyDocument, ...] | None]
"""What the role of this ARN may do now; None if there is no such role (its sessions are then refused)."""


@dataclass(frozen=True, slots=True)
class SessionCredentials:
    """Temporary credentials. `expires_s`: epoch seconds."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_s: int


@dataclass(frozen=True, slots=True)
class Session:
    """What a session token says, and the key pair that belongs to it.

    `subject` is the ARN of the role acted in, or the id of the long-term key whose owner asked for the session.
    """

    subject: str
    name: str
    expires_s: int
    policy: str
    access_key_id: str
    secret_access_key: str = field(repr=False)


class UnknownToken(ValueError):
    """A session token that this installation did not make."""


@dataclass(frozen=True, slots=True, repr=False)
class SessionIssuer:
    """Makes temporary credentials and reads them back."""

    master_key: bytes

    def issue_session(
        self, subject: str, session_name: str, now_s: float, lifetime_s: float, *, policy: str = ""
    ) -> SessionCredentials:
        """Credentials to act in a role (by ARN), or as the owner of a long-term key (by its id), from now until the
        lifetime is over. The same session asked for in the same second is the same credentials. `policy`: a session
        policy, as JSON, that narrows what the subject may do."""
        expires_s = int(now_s + lifetime_s)
        payload = json.dumps([subject, session_name, expires_s, policy, int(now_s)], separators=(",", ":")).encode()
        token = b64encode(self._keyed(b"token", payload) + payload).decode()
        return SessionCredentials(self._access_key_id(token), self._secret(token), token, expires_s)

    def read(self, token: str) -> Session:
        """What a token says. Raises UnknownToken."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise UnknownToken
        try:
            raw = b64decode(token.encode("ascii"), validate=True)
        except (BinasciiError, ValueError) as error:
            raise UnknownToken from error
        tag, payload = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._keyed(b"token", payload)):
            raise UnknownToken
        subject, name, expires_s, policy, _ = json.loads(payload)
        return Session(subject, name, expires_s, policy, self._access_key_id(token), self._secret(token))

    def _access_key_id(self, token: str) -> str:
        return "ASIA" + b32encode(self._keyed(b"id", token.encode())).decode()[:_ID_OF_ACCESS_KEY_LENGTH]

    def _secret(self, token: str) -> str:
        return b64encode(self._keyed(b"secret", token.encode())[:_SECRET_BYTES]).decode()

    def _keyed(self, purpose: bytes, text: bytes) -> bytes:
        return hmac.digest(self.master_key, purpose + b"\0" + text, sha256)


def in_session(principal: Principal, session: Session) -> Principal:
    """The principal, as it acts in this session. A session policy that cannot be read allows nothing."""
    boundary = None
    if session.policy:
        try:
            boundary = parse_policy(session.policy)
        except MalformedPolicy:
            boundary = PolicyDocument(())
    return replace(principal, access_key_id=session.access_key_id, boundary=boundary)


@lru_cache(maxsize=4096)
def stable_id(prefix: str, arn: str) -> str:
    """The unique id of a user (`AIDA`) or role (`AROA`): made from the ARN, hence the same after every restart."""
    return prefix + b32encode(sha256(arn.encode()).digest()).decode()[:_ID_LENGTH]


def root(account: str, access_key_id: str = "") -> Principal:
    """The root of the account: whoever has the key of the installation."""
    return Principal(root_arn(account), account, account, PrincipalKind.ROOT, access_key_id=access_key_id)


def user(account: str, name: str, policies: tuple[PolicyDocument, ...], access_key_id: str = "") -> Principal:
    """A user: what a key of one's own makes one."""
    arn = user_arn(account, name)
    return Principal(arn, account, stable_id("AIDA", arn), PrincipalKind.USER, policies, access_key_id, name)


def assumed_role(role_arn: str, session_name: str, policies: tuple[PolicyDocument, ...]) -> Principal:
    """Whoever acts in a role."""
    account, role = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    return Principal(
        arn=f"arn:aws:sts::{account}:assumed-role/{role}/{session_name}",
        account=account,
        user_id=f"{stable_id('AROA', role_arn)}:{session_name}",
        kind=PrincipalKind.ASSUMED_ROLE,
        policies=policies,
        name=session_name,
        role_arn=role_arn,
    )


def service(name: str) -> Principal:
    """An AWS service, such as `s3.amazonaws.com`, acting for itself."""
    return Principal(name, "", name, PrincipalKind.SERVICE, name=name)


def root_arn(account: str) -> str:
    return f"arn:aws:iam::{account}:root"


def user_arn(account: str, name: str) -> str:
    return f"arn:aws:iam::{account}:user/{name}"
