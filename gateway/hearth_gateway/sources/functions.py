"""The functions that sources can run: the registry, seen through the sources' own port."""

import random
from collections.abc import Callable

from hearth.core.function import LATEST, FunctionVersion
from hearth.registry import Registry


class RegistryFunctions:
    """A `Functions` over the registry."""

    def __init__(self, registry: Registry, chance: Callable[[], float] = random.random) -> None:
        self._registry = registry
        self._chance = chance

    def current(self, name: str, qualifier: str) -> FunctionVersion | None:
        record = self._registry.find(name)
        version = None if record is None else record.find(qualifier or LATEST, self._chance())
        if record is None or version is None or version.serving is None:
            return None
        return record.version(version.version)
