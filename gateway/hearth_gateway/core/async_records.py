"""What an asynchronous invocation sends when it ends: the record for a destination, the event for a dead-letter queue.

Rule 1: a queue, topic, list, stream or function gets the record itself, a bus the record in an event, a bucket the
record as an object.
Rule 2: a record that its target cannot hold loses the payloads, never what happened.
Source: "Capturing records of Lambda asynchronous invocations" in the AWS Lambda developer guide; the quotas of SQS,
SNS, EventBridge and Lambda.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from hearth.core.function import LATEST
from hearth_gateway.core.addresses import (
    BucketAddress,
    BusAddress,
    FunctionAddress,
    QueueAddress,
    TopicAddress,
    parse_address,
)
from hearth_gateway.core.async_event import AsyncEvent, Condition
from hearth_gateway.core.parcel import Attribute, Parcel, derived_id

MAX_MESSAGE_BYTES = 1_048_576
"""Body of a message of SQS or SNS, and payload of an asynchronous invocation."""
MAX_BUS_EVENT_BYTES = 1_048_576
"""An entry of PutEvents."""
MAX_ERROR_BYTES = 1_024
"""The attribute ErrorMessage of a dead letter."""
_ENVELOPE_BYTES = 2_048


@dataclass(frozen=True, slots=True)
class Response:
    """What the function answered. `error` is "Unhandled" if it failed."""

    version: str
    payload: bytes
    error: str = ""


def destination_parcel(
    event: AsyncEvent,
    target: str,
    function_arn: str,
    condition: Condition,
    *,
    count: int,
    response: Response | None,
    now_ms: int,
) -> Parcel:
    """The record for a destination. `count` is how often the function ran; without a response it did not."""
    arn = f"{function_arn}:{event.qualifier or LATEST}"
    address = parse_address(target)
    record = _record(event, arn, condition, count, response=response, now_ms=now_ms)
    body = orjson.dumps({**record, **_payloads(event, response)})
    limit = _limit(address)
    if limit is not None and len(body) > limit:
        body = orjson.dumps(record)
    identity = derived_id(event.id, "destination")
    subject = None
    if isinstance(address, BusAddress):
        body = _bus_event(body, identity, target, arn, condition=condition, now_ms=now_ms)
    elif isinstance(address, BucketAddress):
        subject = object_key(event, identity, now_ms)
    return Parcel(identity, target, body, now_ms, sender=function_arn, subject=subject, trace_id=event.trace_id)


def failure_parcel(
    event: AsyncEvent, target: str, function_arn: str, *, status: int, message: str, now_ms: int
) -> Parcel:
    """The event, as it came, for the dead-letter queue of the function's configuration."""
    attributes = {
        "RequestID": Attribute("String", event.id),
        "ErrorCode": Attribute("Number", str(status)),
    }
    shown = _cut(message)
    if shown:  # neither SQS nor SNS knows an empty attribute
        attributes["ErrorMessage"] = Attribute("String", shown)
    identity = derived_id(event.id, "dead-letter-queue")
    return Parcel(
        identity, target, event.payload, now_ms, sender=function_arn, attributes=attributes, trace_id=event.trace_id
    )


def object_key(event: AsyncEvent, identity: str, now_ms: int) -> str:
    """Where a record lies in a bucket."""
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    return f"aws/lambda/async/{event.function}/{moment:%Y/%m/%d}/{moment:%Y-%m-%dT%H.%M.%S}-{identity}"


def timestamp(now_ms: int) -> str:
    """ISO 8601 with milliseconds, in UTC."""
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now_ms % 1000:03}Z"


def _record(
    event: AsyncEvent, arn: str, condition: Condition, count: int, *, response: Response | None, now_ms: int
) -> dict[str, Any]:
    """A destination record, version 1.0, without payloads. The function's ARN in it is always qualified."""
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": timestamp(now_ms),
        "requestContext": {
            "requestId": event.id,
            "functionArn": arn,
            "condition": condition.value,
            "approximateInvokeCount": count,
        },
    }
    if response is not None:
        error = {"functionError": response.error} if response.error else {}
        record["responseContext"] = {"statusCode": 200, "executedVersion": response.version, **error}
    return record


def _payloads(event: AsyncEvent, response: Response | None) -> Mapping[str, Any]:
    answered = {} if response is None else {"responsePayload": orjson.Fragment(_json(response.payload))}
    return {"requestPayload": orjson.Fragment(_json(event.payload)), **answered}


def _bus_event(body: bytes, identity: str, bus: str, arn: str, *, condition: Condition, now_ms: int) -> bytes:
    """The whole event, as rules match it. Its time has no milliseconds, as on AWS."""
    ended = "Success" if condition is Condition.SUCCESS else "Failure"
    region, account = arn.split(":")[3:5]
    return orjson.dumps(
        {
            "version": "0",
            "id": identity,
            "detail-type": f"Lambda Function Invocation Result - {ended}",
            "source": "lambda",
            "account": account,
            "time": f"{datetime.fromtimestamp(now_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": region,
            "resources": [bus, arn],
            "detail": orjson.Fragment(body),
        }
    )


def _limit(address: object) -> int | None:
    match address:
        case QueueAddress() | TopicAddress() | FunctionAddress():
            return MAX_MESSAGE_BYTES
        case BusAddress():
            return MAX_BUS_EVENT_BYTES - _ENVELOPE_BYTES
        case _:
            return None


def _cut(text: str) -> str:
    return text.encode()[:MAX_ERROR_BYTES].decode(errors="ignore")


def _json(payload: bytes) -> bytes:
    """A payload; text where it is no JSON, which a custom runtime may post."""
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return orjson.dumps(payload.decode(errors="replace"))
    return payload
