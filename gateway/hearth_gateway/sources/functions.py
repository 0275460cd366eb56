"""The functions that sources can run: the registry, seen through the sources' own port."""

from hearth.core.function import LATEST, FunctionVersion
from hearth.registry import Registry


class RegistryFunctions:
    """A `Functions` over the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def current(self, name: str, qualifier: str) -> FunctionVersion | None:
        record = self._registry.find(name)
        if record is None or not record.is_runnable or qualifier not in ("", LATEST):
            return None
        return record.version()
