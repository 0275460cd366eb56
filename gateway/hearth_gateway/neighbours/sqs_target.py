"""Delivery to queues: to Hearth's own, or to those of another SQS where that is what the ARN means.

Rule: a message gets the parcel's id and its attributes. On a FIFO queue the id is what repetitions are told by, unless
the sender named something else.
"""

from collections.abc import Callable

from hearth_gateway.asynchronous.ports import TargetRefused, TargetUnavailable
from hearth_gateway.core.addresses import QueueAddress, parse_address
from hearth_gateway.core.parcel import Attribute, Parcel
from hearth_gateway.core.queue_batch import ENCODING_ATTRIBUTE, body_text
from hearth_gateway.core.sqs_names import is_name
from hearth_gateway.queues.ports import Outgoing, QueueStore
from hearth_gateway.sources.ports import QueueUnavailable
from hearth_gateway.sources.sqs_ports import SqsApi, SqsLetter, SqsRefused

_WRONG_KIND = "WRONGTYPE"


class QueueTarget:
    """A `Target` for queues. `other` gives the SQS that an address is at, None for Hearth's own; it raises
    QueueUnavailable for a connection that is not there."""

    def __init__(self, store: QueueStore, other: Callable[[QueueAddress], SqsApi | None]) -> None:
        self._store = store
        self._other = other

    async def deliver(self, parcel: Parcel) -> None:
        """See `Target`."""
        address = parse_address(parcel.target)
        if not isinstance(address, QueueAddress) or not is_name(address.name):
            raise TargetRefused(f"{parcel.target} is no queue", "InvalidTarget")
        try:
            api = self._other(address)
            if api is None:
                await self._store.send(address.name, [_outgoing(parcel, is_fifo=address.is_fifo)])
            else:
                await api.send(address.name, _letter(parcel, is_fifo=address.is_fifo))
        except SqsRefused as error:
            raise _refusal(error) from error
        except QueueUnavailable as error:
            if _WRONG_KIND in str(error):
                raise TargetRefused(str(error), "WrongType") from error
            raise TargetUnavailable(str(error)) from error


def _refusal(error: SqsRefused) -> TargetRefused | TargetUnavailable:
    return TargetRefused(str(error), error.code) if error.is_final else TargetUnavailable(str(error))


def _outgoing(parcel: Parcel, *, is_fifo: bool) -> Outgoing:
    return Outgoing(
        parcel.id,
        parcel.body,
        parcel.attributes,
        group_id=parcel.group_id,
        deduplication_id=(parcel.deduplication_id or parcel.id) if is_fifo else "",
        sender=parcel.service,
        trace_header=parcel.trace_id,
    )


def _letter(parcel: Parcel, *, is_fifo: bool) -> SqsLetter:
    text, is_binary = body_text(parcel.body)
    more = {ENCODING_ATTRIBUTE: Attribute("String", "base64")} if is_binary else {}
    return SqsLetter(
        text,
        {**parcel.attributes, **more},
        group_id=(parcel.group_id or "hearth") if is_fifo else parcel.group_id,
        deduplication_id=(parcel.deduplication_id or parcel.id) if is_fifo else "",
        trace_header=parcel.trace_id,
    )
