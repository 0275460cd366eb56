"""How functions reach the Hearth that runs them: the address they are told, and what must be listened on for it.

Rule 1: from inside a container the host is the gateway of the functions' network. One more listener there, on the one
port, makes Hearth reachable, and nothing else of the host: what listens on loopback stays out of reach.
Rule 2: without signatures there is no such listener: every function could do everything.
"""

import socket
from dataclasses import dataclass

import structlog

from hearth.config import Settings

_EVERYWHERE = ("0.0.0.0", "")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reach:
    """`url`: what functions find in AWS_ENDPOINT_URL, None for nothing; `listen`: addresses beside the ordinary one."""

    url: str | None = None
    listen: tuple[str, ...] = ()


def reach(settings: Settings, gateway: str | None) -> Reach:
    """`gateway`: the host's address on the functions' network; None if they have none."""
    if settings.function_network == "none":
        return Reach()
    if settings.function_endpoint is not None:
        return Reach(settings.function_endpoint)
    if gateway is None or settings.auth == "none":
        return Reach()
    url = f"http://{gateway}:{settings.port}"
    if settings.host in (*_EVERYWHERE, gateway):
        return Reach(url)
    try:
        _try_to_bind(gateway, settings.port)
    except OSError as error:
        log.warning("functions cannot reach Hearth; set function_endpoint", address=gateway, error=str(error))
        return Reach()
    return Reach(url, (gateway,))


def _try_to_bind(address: str, port: int) -> None:
    """The engine may run elsewhere, and its networks with it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
