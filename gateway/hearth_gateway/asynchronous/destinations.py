"""Where the records of asynchronous invocations go: to another function, or to a queue.

`arn:aws:sqs:` names a Redis list of Hearth's own, as it does for event source mappings. Topics, buses and buckets are
kept and shown, since tools compare them; records for them are reported as not delivered.
Source: `DestinationConfig` and `DeadLetterConfig` in the AWS Lambda API reference.
"""

from collections.abc import Callable, Sequence

import structlog

from hearth.core.errors import HearthError, InvalidParameterValue
from hearth.core.function import FunctionName
from hearth.registry import Registry
from hearth_gateway.asynchronous.ports import Push
from hearth_gateway.core.addresses import OWN_CONNECTION, ListAddress, QueueAddress, parse_address
from hearth_gateway.core.async_event import AsyncEvent, Delivery
from hearth_gateway.core.names import FunctionReference, parse_function_name

log = structlog.get_logger(__name__)

_LAMBDA = ":lambda:"
_QUEUE = ":sqs:"
_OWN_QUEUE = "arn:hearth:redis:"


class Destinations:
    """Resolves destination ARNs. `new_id` gives the request ids of functions that get a record as their event."""

    def __init__(self, registry: Registry, new_id: Callable[[], str]) -> None:
        self._registry = registry
        self._new_id = new_id

    def resolve(
        self, deliveries: Sequence[Delivery], event: AsyncEvent, now_ms: int
    ) -> tuple[list[Push], list[AsyncEvent]]:
        """What to push and what to invoke for these deliveries; those that cannot be made are reported."""
        pushes, follow_ups = [], []
        for delivery in deliveries:
            try:
                if _LAMBDA in delivery.target:
                    follow_ups.append(self._follow_up(delivery, event, now_ms))
                else:
                    pushes.append(Push(_list_key(delivery.target), delivery.body))
            except HearthError as error:
                log.warning(
                    "a destination took no record", target=delivery.target, request_id=event.id, error=error.message
                )
        return pushes, follow_ups

    def check(self, arn: str, own: FunctionName) -> None:
        """Raises InvalidParameterValue for a function that is not there, or is the one whose records these are."""
        if _LAMBDA not in arn:
            return
        reference = self._reference(arn)
        if reference.name == own:
            raise InvalidParameterValue("You can't specify the function as a destination for itself.")
        record = self._registry.find(reference.name)
        if record is None or record.find(reference.qualifier) is None:
            raise InvalidParameterValue(f"The destination ARN {arn} is invalid.")

    def _follow_up(self, delivery: Delivery, event: AsyncEvent, now_ms: int) -> AsyncEvent:
        reference = self._reference(delivery.target)
        return AsyncEvent(
            id=self._new_id(),
            function=reference.name,
            qualifier=reference.qualifier or "",
            invoked_arn=delivery.target,
            payload=delivery.body,
            trace_id=event.trace_id,
            accepted_ms=now_ms,
        )

    def _reference(self, arn: str) -> FunctionReference:
        account = arn.split(":")[4]
        return parse_function_name(arn, account)


def _list_key(arn: str) -> str:
    match parse_address(arn):
        case QueueAddress(name=key, connection=""):
            return key
        case ListAddress(connection=connection, key=key) if connection == OWN_CONNECTION:
            return key
        case _:
            raise InvalidParameterValue("Only queues in Hearth's own Redis can take records.")
