"""Amazon EventBridge, as far as buses, rules, targets and events go, by its own protocol (`AWSEvents.*`, AWS JSON 1.1).

Rule: what is not here is refused by name: archives, replays, connections, API destinations, endpoints, partners, and
permissions for other accounts, of which there are none.
Source: Amazon EventBridge API reference.
"""

from collections.abc import Callable

from hearth_gateway.bus.catalogue import Catalogue
from hearth_gateway.bus.event_buses import EventBuses
from hearth_gateway.neighbours.calls import Handler
from hearth_gateway.neighbours.events_buses_api import BusOperations
from hearth_gateway.neighbours.events_put_api import PutOperations
from hearth_gateway.neighbours.events_rules_api import RuleOperations
from hearth_gateway.neighbours.events_targets_api import TargetOperations
from hearth_gateway.neighbours.json_protocol import JsonService
from hearth_gateway.neighbours.service_choice import EVENTS

EVENTS_VERSION = "2015-10-07"


def events_service(catalogue: Catalogue, buses: EventBuses, now_ms: Callable[[], int]) -> JsonService:
    """The service, over these buses."""
    handlers: dict[str, Handler] = {
        **BusOperations(catalogue, now_ms).handlers(),
        **RuleOperations(catalogue, now_ms).handlers(),
        **TargetOperations(catalogue).handlers(),
        **PutOperations(catalogue, buses, now_ms).handlers(),
    }
    return JsonService(
        EVENTS,
        EVENTS_VERSION,
        handlers,
        invalid="ValidationException",
        unknown="UnsupportedOperation",
        internal="InternalException",
    )
