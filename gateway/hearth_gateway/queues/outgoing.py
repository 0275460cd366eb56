"""Messages as they are sent: whatever ids their senders have, they must fit an envelope."""

from dataclasses import replace

from hearth_gateway.core.envelope import fitting_group, fitting_id
from hearth_gateway.queues.ports import Outgoing


def fitting(message: Outgoing) -> Outgoing:
    """The message with an id and a group that an envelope can hold. SQS itself allows no others; a delivery may."""
    own_id, group_id = fitting_id(message.id), fitting_group(message.group_id)
    if (own_id, group_id) == (message.id, message.group_id):
        return message
    return replace(message, id=own_id, group_id=group_id)
