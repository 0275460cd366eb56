"""How functions reach the Hearth that runs them: the address they are told, and what must be listened on for it.

Rule 1: from inside a container the host is the gateway of the functions' network. One more listener there, on the one
port, makes Hearth reachable, and nothing else of the host: what listens on loopback stays out of reach.
Rule 2: without signatures there is no such listener: every function could do everything.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import structlog

from hearth.config import Settings

_EVERYWHERE = ("0.0.0.0", "")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reach:
    """`url`: what functions find in AWS_ENDPOINT_URL, None for nothing; `services`: the same for single services;
    `listen`: addresses beside the ordinary one."""

    url: str | None = None
    services: Mapping[str, str] = field(default_factory=dict)
    listen: tuple[str, ...] = ()


def reach(settings: Settings, gateway: str | None) -> Reach:
    """`gateway`: the host's address on the functions' network; None if they have none."""
    if settings.function_network == "none":
        return Reach()
    services = {name: _from_inside(url, gateway) for name, url in settings.aws_endpoints.items()}
    if settings.function_endpoint is not None:
        return Reach(settings.function_endpoint, services)
    if gateway is None or settings.auth == "none":
        return Reach(None, services)
    url = f"http://{gateway}:{settings.port}"
    if settings.host in (*_EVERYWHERE, gateway):
        return Reach(url, services)
    try:
        _try_to_bind(gateway, settings.port)
    except OSError as error:
        log.warning("functions cannot reach Hearth; set function_endpoint", address=gateway, error=str(error))
        return Reach(None, services)
    return Reach(url, services, (gateway,))


def _from_inside(url: str, gateway: str | None) -> str:
    """The address of something on this host as a container has to write it: its own loopback is another. Whether it
    answers there is up to what it listens on."""
    parts = urlsplit(url)
    if gateway is None or parts.hostname not in _LOOPBACK:
        return url
    port = "" if parts.port is None else f":{parts.port}"
    return urlunsplit(parts._replace(netloc=gateway + port))


def _try_to_bind(address: str, port: int) -> None:
    """The engine may run elsewhere, and its networks with it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
