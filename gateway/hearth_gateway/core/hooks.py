"""Hooks: public addresses where others tell what happened, and what becomes of it.

Rule 1: what a function gets is the HTTP request, in the form that function URLs have; what object stores tell, it gets
as S3's own event, one record at a time. Everything that is no function gets the body as it came.
Rule 2: the same delivery is one parcel, whoever repeats it: its id follows from the sender's own.
Rule 3: secrets are no part of what a hook shows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from hearth.core.errors import InvalidParameterValue
from hearth_gateway.core.addresses import (
    FunctionAddress,
    ListAddress,
    QueueAddress,
    StreamAddress,
    TopicAddress,
    parse_address,
    parse_target,
)
from hearth_gateway.core.hook_signatures import STANDARD_PREFIX, Scheme, Style, key_of
from hearth_gateway.core.http_event import Arrival, HttpRequest, http_event
from hearth_gateway.core.parcel import Attribute, Parcel, derived_id
from hearth_gateway.core.s3_events import SERVICE, S3Filter, bucket_arn, identity_of, s3_event

MAX_BODY_BYTES = 1_048_576
"""AWS's bound for asynchronous invocations."""
MIN_SECRET, MAX_SECRET = 8, 512
REMEMBERED = frozenset({Style.STRIPE, Style.SLACK, Style.STANDARD})
"""Whose deliveries have a signed time and a signed id: a delivery that comes again while its time is good is a
repetition, and ends here."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)
_OBJECT_STORES = frozenset({Style.S3, Style.MINIO})
_TARGETS = (FunctionAddress, QueueAddress, ListAddress, StreamAddress, TopicAddress)


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook without its secrets. `delivery_header` names the header with the sender's own id of a delivery."""

    name: str
    style: Style
    target: str
    created_s: int
    scheme: Scheme = field(default_factory=Scheme)
    delivery_header: str = ""
    wanted: S3Filter = field(default_factory=S3Filter)

    @property
    def is_for_objects(self) -> bool:
        return self.style in _OBJECT_STORES

    @property
    def path(self) -> str:
        return f"/hooks/{self.name}"


@dataclass(frozen=True, slots=True)
class Told:
    """A delivery as it came. `at_ms` is epoch milliseconds."""

    request: HttpRequest
    request_id: str
    trace_id: str
    at_ms: int
    port: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a sender wants to hear at once, nothing being delivered: GitHub's ping, Slack's question for the URL."""

    body: bytes


def checked(hook: Hook) -> Hook:
    """The hook, if it can be one. Raises InvalidParameterValue."""
    if not _NAME.fullmatch(hook.name):
        raise InvalidParameterValue("A hook's name is 1 to 64 letters, digits, hyphens and underscores.")
    if not isinstance(parse_target(hook.target), _TARGETS):
        raise InvalidParameterValue(f"{hook.target!r} is no function, queue, list, stream or topic.")
    headers = (hook.scheme.header, hook.scheme.timestamp_header or "X", hook.delivery_header or "X")
    if not all(map(_FIELD.fullmatch, headers)):
        raise InvalidParameterValue("That is no name of a header.")
    if hook.wanted != S3Filter() and not hook.is_for_objects:
        raise InvalidParameterValue("Buckets, prefixes, suffixes and events are for the styles s3 and minio.")
    if hook.scheme != Scheme() and hook.style is not Style.GENERIC:
        raise InvalidParameterValue("Header, algorithm, encoding and prefix are for the style generic.")
    return hook


def check_secret(style: Style, secret: str) -> None:
    """Raises InvalidParameterValue unless the style can have this secret. The secret is not in the error."""
    if not MIN_SECRET <= len(secret) <= MAX_SECRET or not secret.isprintable():
        raise InvalidParameterValue(f"A secret has {MIN_SECRET} to {MAX_SECRET} printable characters.")
    if style is Style.NONE:
        raise InvalidParameterValue("A hook of the style none has no secret.")
    try:
        key_of(style, secret)
    except ValueError:
        raise InvalidParameterValue(f"A secret that begins with {STANDARD_PREFIX} goes on in base64.") from None


def reply_to(hook: Hook, headers: Mapping[str, str], body: bytes) -> Reply | None:
    """The answer to what is no delivery; None for a delivery."""
    if hook.style is Style.GITHUB and headers.get("X-GitHub-Event") == "ping":
        return Reply(b'{"message":"pong"}')
    if hook.style is Style.SLACK:
        said = _object(body)
        if said.get("type") == "url_verification" and isinstance(said.get("challenge"), str):
            return Reply(orjson.dumps({"challenge": said["challenge"]}))
    return None


def delivery_id(hook: Hook, headers: Mapping[str, str], body: bytes) -> str:
    """The sender's own id of the delivery; "" if it has none."""
    if hook.delivery_header:
        return headers.get(hook.delivery_header, "")
    match hook.style:
        case Style.GITHUB:
            return headers.get("X-GitHub-Delivery", "")
        case Style.STANDARD:
            return headers.get("webhook-id", "")
        case Style.STRIPE:
            return _text(_object(body).get("id"))
        case Style.SLACK:
            return _text(_object(body).get("event_id"))
        case _:
            return ""


def parcel_id(hook: Hook, delivery: str, request_id: str) -> str:
    """The id of what is delivered. Without an id of the sender's every request is a delivery of its own."""
    return derived_id(f"hook/{hook.name}", delivery) if delivery else request_id


def parcel_of(hook: Hook, told: Told, headers: Mapping[str, str], delivery: str) -> Parcel:
    """What is delivered of a request."""
    is_function = isinstance(parse_address(hook.target), FunctionAddress)
    body = orjson.dumps(_event(hook, told, delivery)) if is_function else told.request.body
    return _parcel(
        hook,
        parcel_id(hook, delivery, told.request_id),
        body,
        told,
        attributes={} if is_function else _attributes(hook, headers, delivery),
    )


def parcels_of_objects(hook: Hook, told: Told, records: Sequence[Mapping[str, Any]]) -> list[Parcel]:
    """What is delivered of an object store's message: each wanted record on its own."""
    wanted = {identity_of(record): record for record in records if hook.wanted.accepts(record)}
    return [
        _parcel(
            hook,
            parcel_id(hook, identity, ""),
            s3_event(record),
            told,
            sender=bucket_arn(record),
            service=SERVICE,
        )
        for identity, record in wanted.items()
    ]


def _parcel(
    hook: Hook,
    identity: str,
    body: bytes,
    told: Told,
    *,
    attributes: Mapping[str, Attribute] | None = None,
    sender: str = "",
    service: str = "",
) -> Parcel:
    address = parse_address(hook.target)
    is_fifo = isinstance(address, QueueAddress | TopicAddress) and address.name.endswith(".fifo")
    return Parcel(
        id=identity,
        target=hook.target,
        body=body,
        accepted_ms=told.at_ms,
        sender=sender,
        service=service,
        attributes=attributes or {},
        group_id=hook.name if is_fifo else "",
        deduplication_id=identity if is_fifo else "",
        trace_id=told.trace_id,
    )


def _event(hook: Hook, told: Told, delivery: str) -> dict[str, Any]:
    """The request as function URLs give it, with what Hearth knows about it."""
    request = told.request
    arrival = Arrival(f"hook-{hook.name}", told.request_id, told.trace_id, told.at_ms, told.port)
    event = http_event(request, arrival)
    about = {"hook": hook.name, "style": hook.style.value, **({"deliveryId": delivery} if delivery else {})}
    return {**event, "requestContext": {**event["requestContext"], "hearth": about}}


def _attributes(hook: Hook, headers: Mapping[str, str], delivery: str) -> dict[str, Attribute]:
    """What the body does not say, for those who get the body alone."""
    known = {
        "hearth.hook": hook.name,
        "hearth.delivery": delivery,
        "hearth.event": headers.get("X-GitHub-Event", ""),
        "content-type": headers.get("Content-Type", ""),
    }
    return {name: Attribute("String", value) for name, value in known.items() if value}


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
