"""The layers of this platform: every one in memory, every change durable first.

Rule 1: the store is written before memory. Rule 2: one writer at a time (`changing`); readers never wait.
Rule 3: a write that failed may have happened all the same; its record is kept in `_doubtful` until a later write of
the same layer settles it, so that no package it names is thrown away.
State: `_layers`, `_names` and `_doubtful` are changed by `load` and `put` only. A layer whose versions are all
deleted stays: its numbers are never given out again.
"""

import asyncio
from bisect import insort
from collections.abc import Sequence
from typing import Protocol

import structlog

from hearth.core.layers import Layer, LayerVersion
from hearth.layer_wire import decode_layer, encode_layer
from hearth.wire import StoredRecordError


class LayerStore(Protocol):
    """The durable home of layers, by name. The same promises as `hearth.ports.FunctionStore`."""

    async def load_all(self) -> dict[str, bytes]: ...

    async def put(self, name: str, record: bytes, /) -> None: ...


class LayerBook:
    """Every layer, by name."""

    def __init__(self, store: LayerStore) -> None:
        self._store = store
        self._layers: dict[str, Layer] = {}
        self._names: list[str] = []
        self._doubtful: dict[str, Layer] = {}
        self.changing = asyncio.Lock()
        """To be held from reading what a change depends on until it is made."""

    async def load(self) -> None:
        """Take in what the store has. A record that cannot be read is reported and left where it is."""
        for name, stored in (await self._store.load_all()).items():
            try:
                self._take(decode_layer(stored))
            except StoredRecordError as error:
                structlog.get_logger().error("layer record unreadable", layer=name, error=str(error))

    def find(self, name: str) -> Layer | None:
        """The layer of this bare name."""
        return self._layers.get(name)

    def find_version(self, name: str, number: int) -> LayerVersion | None:
        """One version, if it exists and is not deleted."""
        layer = self._layers.get(name)
        return None if layer is None else layer.versions.get(number)

    @property
    def names(self) -> Sequence[str]:
        """The names of all layers there ever were, in order."""
        return self._names

    def packages(self) -> set[str]:
        """The SHA-256 of every package that any version holds, or may hold."""
        known = (*self._layers.values(), *self._doubtful.values())
        return {sha256 for layer in known for sha256 in layer.packages}

    async def put(self, layer: Layer) -> None:
        """Make this the layer of its name, durably. With `changing` held."""
        try:
            await self._store.put(layer.name, encode_layer(layer))
        except BaseException:
            self._doubtful[layer.name] = layer
            raise
        self._doubtful.pop(layer.name, None)
        self._take(layer)

    def _take(self, layer: Layer) -> None:
        if layer.name not in self._layers:
            insort(self._names, layer.name)
        self._layers[layer.name] = layer
