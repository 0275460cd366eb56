"""Requests signed by botocore, as they reach the verifier."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from hearth.core.identity import Credential, Refusal, user
from hearth_gateway.auth.authentication import SignatureAuthenticator, verify
from hearth_gateway.core.sigv4 import Signed

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
BASE = "http://127.0.0.1:9400"
NOW_S = 1_795_225_000.0
ACCOUNT = "000000000000"


@contextmanager
def botocore_clock(now_s: float) -> Iterator[None]:
    """Let botocore sign as if it were this time."""
    moment = datetime.fromtimestamp(now_s, UTC)
    with mock.patch("botocore.auth.get_current_datetime", lambda *_, **__: moment.replace(tzinfo=None)):
        yield


def signed(
    method: str,
    target: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    secret: str = SECRET,
    key: str = KEY,
    token: str | None = None,
    service: str = "lambda",
    region: str = "us-east-1",
    expires_s: int | None = None,
    now_s: float = NOW_S,
    base: str = BASE,
) -> Signed:
    """A request that botocore signed: in its header, or for `expires_s` in its query."""
    request = AWSRequest(method, base + target, headers=dict(headers or {}), data=body)
    signer = _signer(Credentials(key, secret, token), service, region, expires_s)
    with botocore_clock(now_s):
        signer.add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    sent = {_bytes(name).lower(): _bytes(value) for name, value in prepared.headers.items()}
    unsigned = {b"host": parts.netloc.encode(), b"user-agent": b"Boto3/1.44", b"content-length": b"%d" % len(body)}
    return Signed(method, parts.path, parts.query, {**unsigned, **sent})


def _signer(credentials: Credentials, service: str, region: str, expires_s: int | None) -> Any:
    if expires_s is not None:
        kind = S3SigV4QueryAuth if service == "s3" else SigV4QueryAuth
        return kind(credentials, service, region, expires=expires_s)
    return (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, region)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


class OneKey:
    """Knows one long-term key."""

    def __init__(self, secret: str = SECRET, key: str = KEY) -> None:
        self.key = key
        self.credential = Credential(secret, user(ACCOUNT, "somebody", (), key))

    def secret_of(self, access_key_id: str, session_token: str, now_s: float) -> Credential | Refusal:
        return self.credential if (access_key_id, session_token) == (self.key, "") else Refusal.UNKNOWN

    def __len__(self) -> int:
        return 1


def accept(
    request: Signed, body: bytes = b"", *, now_s: float = NOW_S, source_ip: str = "127.0.0.1", secret: str = SECRET
) -> bytes:
    """Prove the request; gives its body. Raises an AuthenticationError."""
    authenticator = SignatureAuthenticator(OneKey(secret), lambda: now_s)
    return verify(authenticator.examine(request, source_ip), body)
