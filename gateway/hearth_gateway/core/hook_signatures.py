"""Whether a webhook's request comes from who it should: a signature over its raw body, or a secret that it carries.

| style | where | over what (`t`: the timestamp) |
|---|---|---|
| github | `X-Hub-Signature-256: sha256=<hex>` | the body |
| stripe | `Stripe-Signature: t=<seconds>,v1=<hex>` | `<t>.<body>` |
| slack | `X-Slack-Signature: v0=<hex>`, `X-Slack-Request-Timestamp` | `v0:<t>:<body>` |
| standard | `webhook-signature: v1,<base64>`, `webhook-id`, `webhook-timestamp` | `<id>.<t>.<body>` |
| generic | a header of one's own choice | the body, or `<t>.<body>` |
| s3, minio | `Authorization: Bearer <secret>` | nothing: the secret itself |
| none | nowhere | nothing: everybody is let in |

A timestamp may be 5 minutes from now.

Rule 1: secrets are compared in constant time, all of them, whichever fits.
Rule 2: the body is what came by wire; nothing is parsed before it is proved.
Source: "Validating webhook deliveries", GitHub docs; "Resolve webhook signature verification errors", Stripe docs;
"Verifying requests from Slack"; the Standard Webhooks specification.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, assert_never

TOLERANCE_S = 300
"""How far a timestamp may be from now, to either side."""
STANDARD_PREFIX = "whsec_"


class Style(Enum):
    """Whose way of signing it is."""

    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"
    STANDARD = "standard"
    GENERIC = "generic"
    S3 = "s3"
    MINIO = "minio"
    NONE = "none"


class Flaw(Enum):
    """Why a request is refused. The value is what its sender is told."""

    MISSING = "The request has no signature."
    MALFORMED = "The signature, or its timestamp, cannot be read."
    MISMATCH = "The signature does not match."
    TOO_OLD = "The timestamp of the signature is too far from now."


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a generic hook's requests are signed. With a `timestamp_header` (epoch seconds) it is `<timestamp>.<body>`
    that is signed."""

    header: str = "X-Signature"
    algorithm: Literal["sha256", "sha1", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    timestamp_header: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """What is to be proved: signatures found, and the words that they should be of. `at_s`: when that was, if it says
    so."""

    signatures: tuple[bytes, ...]
    words: bytes
    at_s: int | None = None
    algorithm: str = "sha256"


def flaw_in(
    style: Style, scheme: Scheme, headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], now_s: float
) -> Flaw | None:
    """What is wrong with a request; None if nothing is. `headers` find a name in any case."""
    if style is Style.NONE:
        return None
    if style in (Style.S3, Style.MINIO):
        return _flaw_in_bearer(headers.get("Authorization", ""), secrets)
    found = _proof(style, scheme, headers, body)
    if isinstance(found, Flaw):
        return found
    if found.at_s is not None and abs(now_s - found.at_s) > TOLERANCE_S:
        return Flaw.TOO_OLD
    keys = [key_of(style, secret) for secret in secrets]
    return None if _is_signed(found, keys) else Flaw.MISMATCH


def key_of(style: Style, secret: str) -> bytes:
    """The key that a secret is. Standard Webhooks write theirs in base64. Raises ValueError for one that is none."""
    if style is Style.STANDARD and secret.startswith(STANDARD_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(STANDARD_PREFIX), validate=True)
        except binascii.Error as error:
            raise ValueError("the secret is not base64") from error
    return secret.encode()


def _flaw_in_bearer(authorization: str, secrets: Iterable[str]) -> Flaw | None:
    """MinIO sends a token of two words as it is, and puts Bearer before one of one word."""
    if not authorization:
        return Flaw.MISSING
    token = authorization.removeprefix("Bearer ").strip()
    fits = [_equal(token.encode(), secret.removeprefix("Bearer ").encode()) for secret in secrets]
    return None if any(fits) else Flaw.MISMATCH


def _proof(style: Style, scheme: Scheme, headers: Mapping[str, str], body: bytes) -> Proof | Flaw:
    match style:
        case Style.GITHUB:
            return _of_header(headers.get("X-Hub-Signature-256", ""), body, Scheme(prefix="sha256="))
        case Style.STRIPE:
            return _stripe(headers.get("Stripe-Signature", ""), body)
        case Style.SLACK:
            return _slack(headers, body)
        case Style.STANDARD:
            return _standard(headers, body)
        case Style.GENERIC:
            return _generic(scheme, headers, body)
        case Style.S3 | Style.MINIO | Style.NONE:
            return Flaw.MISSING
        case _:
            assert_never(style)


def _of_header(value: str, words: bytes, scheme: Scheme, at_s: int | None = None) -> Proof | Flaw:
    if not value:
        return Flaw.MISSING
    if not value.startswith(scheme.prefix):
        return Flaw.MALFORMED
    signature = _decoded(value.removeprefix(scheme.prefix).strip(), scheme.encoding)
    return Flaw.MALFORMED if signature is None else Proof((signature,), words, at_s, scheme.algorithm)


def _stripe(value: str, body: bytes) -> Proof | Flaw:
    if not value:
        return Flaw.MISSING
    parts = [part.strip().partition("=") for part in value.split(",")]
    times = [_seconds(text) for name, _, text in parts if name == "t"]
    signatures = [_decoded(text, "hex") for name, _, text in parts if name == "v1"]
    known = tuple(one for one in signatures if one is not None)
    if len(times) != 1 or times[0] is None or not known:
        return Flaw.MALFORMED
    return Proof(known, f"{times[0]}.".encode() + body, times[0])


def _slack(headers: Mapping[str, str], body: bytes) -> Proof | Flaw:
    at_s = _seconds(headers.get("X-Slack-Request-Timestamp", ""))
    value = headers.get("X-Slack-Signature", "")
    if at_s is None:
        return Flaw.MALFORMED if value else Flaw.MISSING
    return _of_header(value, f"v0:{at_s}:".encode() + body, Scheme(prefix="v0="), at_s)


def _standard(headers: Mapping[str, str], body: bytes) -> Proof | Flaw:
    value, identity = headers.get("webhook-signature", ""), headers.get("webhook-id", "")
    at_s = _seconds(headers.get("webhook-timestamp", ""))
    if not value:
        return Flaw.MISSING
    pairs = (one.partition(",") for one in value.split())
    signatures = tuple(
        found for version, _, text in pairs if version == "v1" and (found := _decoded(text, "base64")) is not None
    )
    if at_s is None or not identity or not signatures:
        return Flaw.MALFORMED
    return Proof(signatures, f"{identity}.{at_s}.".encode() + body, at_s)


def _generic(scheme: Scheme, headers: Mapping[str, str], body: bytes) -> Proof | Flaw:
    value = headers.get(scheme.header, "")
    if not scheme.timestamp_header:
        return _of_header(value, body, scheme)
    at_s = _seconds(headers.get(scheme.timestamp_header, ""))
    if at_s is None:
        return Flaw.MALFORMED if value else Flaw.MISSING
    return _of_header(value, f"{at_s}.".encode() + body, scheme, at_s)


def _is_signed(proof: Proof, keys: Iterable[bytes]) -> bool:
    expected = [hmac.new(key, proof.words, getattr(hashlib, proof.algorithm)).digest() for key in keys]
    fits = [_equal(signature, one) for signature in proof.signatures for one in expected]
    return any(fits)


def _equal(given: bytes, expected: bytes) -> bool:
    return hmac.compare_digest(given, expected)


def _decoded(text: str, encoding: str) -> bytes | None:
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except ValueError:  # binascii's error is one
        return None


def _seconds(text: str) -> int | None:
    """Digits only, and as they would be written again: it is the text that was signed."""
    is_number = text.isascii() and text.isdigit() and 0 < len(text) <= len(str(2**40)) and str(int(text)) == text
    return int(text) if is_number else None
