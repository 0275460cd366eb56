"""Signature Version 4: whether a request was signed, as it arrived, by whoever has the secret.

Rule 1: what is signed is what came by wire: raw path, raw query, header values, body. Nothing is decoded before.
Rule 2: what has a meaning must be signed: the host, every `x-amz-*` header, the date, the body.
Rule 3: a signature is good for five minutes around its date, a presigned one for as long as it says, a week at most.
Rule 4: on the path of every request: what most requests have (a plain path, no query) is not worked on twice.
Source: "Create a signed AWS API request" and "Troubleshoot signed requests", AWS IAM user guide.
"""

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote, unquote

from hearth.core.auth_errors import (
    SIGNATURE_MISMATCH,
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
)

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
MAX_SKEW_S = 300
MAX_PRESIGNED_S = 604_800
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
STREAMING_PREFIX = "STREAMING-"

_DATE_FORMAT = "%Y%m%dT%H%M%SZ"
_DATE = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HEADER_LIST = re.compile(r"[!-:<-~]+(?:;[!-:<-~]+)*", re.ASCII)
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?", re.ASCII)
_SPACES = re.compile(rb" {2,}")
_SCOPE_PARTS = 5
_UNRESERVED = "-_.~"
_MAY_BE_UNSIGNED = frozenset({b"x-amz-user-agent"})
_S3 = "s3"


class Signed(NamedTuple):
    """A request as it came by wire. Header names are lower-case; the values of a repeated one are joined by commas."""

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]


class Scope(NamedTuple):
    """Where and when a signature is good: the `Credential`, without its key."""

    date: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


class Claim(NamedTuple):
    """What a request says about its signature; nothing of it is proven.

    `moment` is the request's date as in `X-Amz-Date`. `lifetime_s` is set for presigned requests only.
    """

    access_key_id: str
    scope: Scope
    signed_headers: tuple[bytes, ...]
    signature: str
    moment: str
    session_token: str = ""
    lifetime_s: int | None = None


class _Parameters(NamedTuple):
    """The parts of a signature that are the same for many requests."""

    access_key_id: str
    scope: Scope
    signed_headers: tuple[bytes, ...]


def is_signed(request: Signed) -> bool:
    """Whether the request claims a signature at all."""
    return b"authorization" in request.headers or "X-Amz-Signature=" in request.query


def read_claim(request: Signed) -> Claim:
    """What the request says about its signature. Raises an AuthenticationError."""
    authorization = request.headers.get(b"authorization")
    if authorization is not None:
        return _claim_of_header(authorization, request.headers)
    if "X-Amz-Signature=" in request.query:
        return _claim_of_query(request.query)
    raise MissingAuthenticationToken


def _claim_of_header(authorization: bytes, headers: Mapping[bytes, bytes]) -> Claim:
    front, comma, signature = authorization.decode("latin-1").rpartition("Signature=")
    if not comma or not _SIGNATURE.fullmatch(signature):
        parts = _authorization_parts(authorization.decode("latin-1"))
        signature = parts.pop("Signature", "")
        front = f"{ALGORITHM} " + ",".join(f"{name}={value}" for name, value in parts.items())
        if not _SIGNATURE.fullmatch(signature):
            raise IncompleteSignature("Authorization header requires 'Signature' parameter.")
    parameters = _parameters(front)
    moment = _moment(headers)
    _check_dates(moment, parameters.scope)
    token = headers.get(b"x-amz-security-token", b"").decode("latin-1")
    return Claim(*parameters, signature, moment, token)


@lru_cache(maxsize=512)
def _parameters(front: str) -> _Parameters:
    """Of the same client they are the same all day."""
    parts = _authorization_parts(front)
    missing = [name for name in ("Credential", "SignedHeaders") if not parts.get(name)]
    if "Signature" in parts:
        raise IncompleteSignature("Authorization header has a repeated 'Signature' parameter.")
    if missing:
        raise IncompleteSignature(" ".join(f"Authorization header requires '{name}' parameter." for name in missing))
    return _Parameters(*_credential(parts["Credential"]), _header_names(parts["SignedHeaders"]))


def _authorization_parts(text: str) -> dict[str, str]:
    algorithm, _, rest = text.partition(" ")
    if algorithm != ALGORITHM:
        raise IncompleteSignature(f"Unsupported AWS 'algorithm': only {ALGORITHM} is supported.")
    parts: dict[str, str] = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not part.strip():
            continue
        if not equals or name in parts:
            raise IncompleteSignature("Authorization header has a malformed or repeated parameter.")
        parts[name] = value
    return parts


def _credential(text: str) -> tuple[str, Scope]:
    parts = text.split("/")
    if len(parts) != _SCOPE_PARTS or not all(parts):
        raise IncompleteSignature(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."
        )
    key, date, region, service, terminator = parts
    if terminator != TERMINATOR:
        raise InvalidSignature(f"Credential should be scoped with a valid terminator: '{TERMINATOR}'.")
    return key, Scope(date, region, service)


def _header_names(text: str) -> tuple[bytes, ...]:
    names = tuple(text.encode("latin-1").split(b";"))
    if not _HEADER_LIST.fullmatch(text) or len(set(names)) != len(names) or text != text.lower():
        raise IncompleteSignature("SignedHeaders must be lower-case header names, each once, separated by semicolons.")
    if b"host" not in names:
        raise InvalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    return names


def _moment(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-amz-date")
    if given is not None:
        return given.decode("latin-1")
    date = headers.get(b"date", b"").decode("latin-1")
    if _DATE.fullmatch(date):
        return date
    try:
        return parsedate_to_datetime(date).astimezone(UTC).strftime(_DATE_FORMAT)
    except (ValueError, TypeError, OverflowError) as error:
        raise IncompleteSignature(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        ) from error


def _claim_of_query(query: str) -> Claim:
    values = _presigned_values(query)
    if values.get("X-Amz-Algorithm") != ALGORITHM:
        raise IncompleteSignature(f"Unsupported AWS 'algorithm': only {ALGORITHM} is supported.")
    required = ("X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")
    missing = [name for name in required if not values.get(name)]
    if missing:
        raise IncompleteSignature(f"AWS query-string parameters must include {', '.join(missing)}.")
    key, scope = _credential(values["X-Amz-Credential"])
    _check_dates(values["X-Amz-Date"], scope)
    if not _SIGNATURE.fullmatch(values["X-Amz-Signature"]):
        raise IncompleteSignature("X-Amz-Signature must be 64 lower-case hexadecimal digits.")
    return Claim(
        key,
        scope,
        _header_names(values["X-Amz-SignedHeaders"]),
        values["X-Amz-Signature"],
        values["X-Amz-Date"],
        values.get("X-Amz-Security-Token", ""),
        _lifetime(values["X-Amz-Expires"]),
    )


def _presigned_values(query: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if not name.startswith("X-Amz-"):
            continue
        if name in values:
            raise IncompleteSignature(f"The parameter {name} is repeated.")
        values[name] = unquote(value)
    return values


def _lifetime(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PRESIGNED_S))
    if not is_number or not 0 < int(text) <= MAX_PRESIGNED_S:
        raise IncompleteSignature(f"X-Amz-Expires must be a number of seconds from 1 to {MAX_PRESIGNED_S}.")
    return int(text)


def _check_dates(moment: str, scope: Scope) -> None:
    _epoch_s(moment)
    if moment[:8] != scope.date:
        raise InvalidSignature(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{scope.date}' != '{moment[:8]}', from '{moment}'."
        )


@lru_cache(maxsize=512)
def _epoch_s(moment: str) -> int:
    try:
        if _DATE.fullmatch(moment):
            return int(datetime.strptime(moment, _DATE_FORMAT).replace(tzinfo=UTC).timestamp())
    except ValueError:
        pass
    raise IncompleteSignature("Date must be in ISO-8601 'basic format': yyyymmddThhmmssZ.")


def check_time(claim: Claim, now_s: float) -> None:
    """Refuse a signature that is not of this time."""
    signed_s = _epoch_s(claim.moment)
    if signed_s > now_s + MAX_SKEW_S:
        raise InvalidSignature(
            f"Signature not yet current: {claim.moment} is still later than {_text(now_s + MAX_SKEW_S)} "
            f"({_text(now_s)} + 5 min.)"
        )
    lifetime_s = MAX_SKEW_S if claim.lifetime_s is None else claim.lifetime_s
    if now_s > signed_s + lifetime_s:
        how = "5 min." if claim.lifetime_s is None else f"{lifetime_s} s"
        raise InvalidSignature(
            f"Signature expired: {claim.moment} is now earlier than {_text(now_s - lifetime_s)} "
            f"({_text(now_s)} - {how})"
        )


def _text(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime(_DATE_FORMAT)


def declared_payload(claim: Claim, request: Signed) -> str | None:
    """What the request says about its body: a hash, or the name of a way to do without; None if nothing.

    A presigned request of S3 speaks for no body unless it says so.
    """
    given = request.headers.get(b"x-amz-content-sha256")
    if given is not None:
        return given.decode("latin-1")
    if claim.lifetime_s is None:
        return None
    if claim.scope.service == _S3 or f"X-Amz-Content-Sha256={UNSIGNED_PAYLOAD}" in request.query.split("&"):
        return UNSIGNED_PAYLOAD
    return None


def check_signature(claim: Claim, request: Signed, secret: str, payload_hash: str) -> None:
    """Refuse a request that is not the one that was signed. `payload_hash`: the body's, in hex, or what the request
    says instead of one."""
    _check_headers(claim, request.headers)
    key = signing_key(secret, claim.scope)
    pairs = _signed_pairs(claim, request.query)
    if _is_signature(claim, request, key, _canonical_query(pairs), payload_hash):
        return
    as_sent = _joined(pairs)  # some clients sign the query in the very form they send
    if request.query and _is_signature(claim, request, key, as_sent, payload_hash):
        return
    raise InvalidSignature(SIGNATURE_MISMATCH)


def _check_headers(claim: Claim, headers: Mapping[bytes, bytes]) -> None:
    signed = claim.signed_headers
    for name in headers:
        if name.startswith(b"x-amz-") and name not in signed and name not in _MAY_BE_UNSIGNED:
            raise InvalidSignature(
                f"There were headers present in the request which were not signed: {name.decode('latin-1')}"
            )
    if claim.lifetime_s is None and b"x-amz-date" not in headers and b"date" not in signed:
        raise InvalidSignature("The header Date must be signed where there is no X-Amz-Date.")


def _is_signature(claim: Claim, request: Signed, key: bytes, query: str, payload_hash: str) -> bool:  # noqa: PLR0917 - all are facts of one request
    canonical = canonical_request(request, claim, query, payload_hash)
    if canonical is None:
        return False
    digest = sha256(canonical).hexdigest()
    text = f"{ALGORITHM}\n{claim.moment}\n{claim.scope}\n{digest}"
    return hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), claim.signature)


def canonical_request(request: Signed, claim: Claim, query: str, payload_hash: str) -> bytes | None:
    """The request in the form that is signed; None if a header that should be signed is not there."""
    lines: list[bytes] = []
    for name in claim.signed_headers:
        value = request.headers.get(name)
        if value is None:
            return None
        if b"  " in value:
            value = _SPACES.sub(b" ", value)
        lines.append(name + b":" + value.strip() + b"\n")
    path = _canonical_path(request.path, is_s3=claim.scope.service == _S3)
    return b"".join(
        (
            f"{request.method}\n{path}\n{query}\n".encode("utf-8", "surrogateescape"),
            *lines,
            b"\n",
            b";".join(claim.signed_headers),
            b"\n",
            payload_hash.encode(),
        )
    )


def _canonical_path(path: str, *, is_s3: bool) -> str:
    """The path percent-encoded once more, without empty and dot segments; of S3 as it is."""
    if _PLAIN_PATH.fullmatch(path):
        return path
    if is_s3:
        return quote(unquote(path, errors="surrogateescape"), safe=f"/{_UNRESERVED}", errors="surrogateescape")
    return quote(_normalised(path), safe=f"/{_UNRESERVED}", errors="surrogateescape")


def _normalised(path: str) -> str:
    """Without empty, `.` and `..` segments; one slash at the end stays."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    end = "/" if kept and segments[-1] == "" else ""
    return "/" + "/".join(kept) + end


def _canonical_query(pairs: list[tuple[str, str]]) -> str:
    return _joined([(_encoded(name), _encoded(value)) for name, value in pairs]) if pairs else ""


def _joined(pairs: list[tuple[str, str]]) -> str:
    return "&".join([f"{name}={value}" for name, value in sorted(pairs)])


def _signed_pairs(claim: Claim, query: str) -> list[tuple[str, str]]:
    """The parameters that are signed: all but the signature itself where it is one of them."""
    if not query:
        return []
    pairs = [(name, value) for name, _, value in (part.partition("=") for part in query.split("&") if part)]
    if claim.lifetime_s is None:
        return pairs
    return [pair for pair in pairs if pair[0] != "X-Amz-Signature"]


def _encoded(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), safe=_UNRESERVED, errors="surrogateescape")


@lru_cache(maxsize=1024)
def signing_key(secret: str, scope: Scope) -> bytes:
    """The key of a secret for one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (*scope, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
