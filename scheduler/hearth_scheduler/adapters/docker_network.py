"""The network of functions on a Docker engine."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import docker
from docker.errors import NotFound

from hearth_scheduler.ports import LABEL_INSTANCE, ContainerError

_ICC = "com.docker.network.bridge.enable_icc"
"""Inter-container communication: off, one function cannot reach another."""


class FunctionNetwork:
    """The bridge that functions share: out to the internet, not to each other. Made at first need."""

    def __init__(self, instance: str) -> None:
        self.name = f"hearth-{instance}"
        self._instance = instance
        self._lock = threading.Lock()
        self._is_ready = False

    def ready(self, api: docker.APIClient) -> str:
        """The network's name, once it exists."""
        with self._lock:
            if not self._is_ready:
                self._ensure(api)
                self._is_ready = True
        return self.name

    def gateway(self, api: docker.APIClient) -> str | None:
        """The host's IPv4 address on the network."""
        self.ready(api)
        found = self._find(api)
        ranges = found["IPAM"]["Config"] or () if found is not None else ()
        gateways = (each.get("Gateway", "").partition("/")[0] for each in ranges)
        return next((address for address in gateways if "." in address), None)

    def doubt(self) -> None:
        """A start failed: perhaps somebody removed the network. Look again before the next start."""
        self._is_ready = False

    def _ensure(self, api: docker.APIClient) -> None:
        existing = self._find(api)
        if existing is None:
            api.create_network(
                self.name,
                driver="bridge",
                options={_ICC: "false"},
                labels={LABEL_INSTANCE: self._instance},
            )
        elif existing["Labels"].get(LABEL_INSTANCE) != self._instance or existing["Options"].get(_ICC) != "false":
            raise ContainerError(f"the network {self.name} exists and is not one Hearth made")

    def _find(self, api: docker.APIClient) -> Mapping[str, Any] | None:
        """The engine's filter also finds names that merely contain ours."""
        return next((each for each in api.networks(names=[self.name]) if each["Name"] == self.name), None)

    def remove(self, api: docker.APIClient) -> None:
        with self._lock:
            self._is_ready = False
            existing = self._find(api)
            if existing is not None and existing["Labels"].get(LABEL_INSTANCE) == self._instance:
                with suppress(NotFound):
                    api.remove_network(existing["Id"])
