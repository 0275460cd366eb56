"""The hooks of this installation and their secrets: in memory, every change durable first.

Rule 1: the store is written before memory. Rule 2: secrets lie in the store sealed, under their hook's name, and are
shown once, by whoever makes them.
Rule 3: after a rotation the secret before is good for a while, so that no delivery is refused in between.
State: `_hooks` is changed by `load`, `put` and `remove` only.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from pydantic import BaseModel, ValidationError

from hearth.core.errors import ResourceConflict, ResourceNotFound
from hearth.sealing import BrokenSeal, Sealer
from hearth_gateway.core.hooks import Hook

SCHEMA = 1
MAX_HOOKS = 1_000


class Records(Protocol):
    """The durable home of hooks, by name. The same promises as `hearth.ports.FunctionStore`."""

    async def load_all(self) -> dict[str, bytes]: ...

    async def put(self, key: str, record: bytes, /) -> None: ...

    async def delete(self, key: str, /) -> None: ...


@dataclass(frozen=True, slots=True, repr=False)
class Kept:
    """A hook with its secrets: the one that is good, and the one before, good until `before_until_s` (epoch)."""

    hook: Hook
    secret: str = ""
    before: str = ""
    before_until_s: int = 0

    def secrets(self, now_s: float) -> Sequence[str]:
        """The secrets that are good now."""
        is_good = bool(self.before) and now_s < self.before_until_s
        return (self.secret, self.before) if is_good else (self.secret,)


class _Record(BaseModel):
    schema_version: int
    hook: Hook
    sealed: str = ""
    sealed_before: str = ""
    before_until_s: int = 0


class HookBook:
    """Every hook by name."""

    def __init__(self, store: Records, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer
        self._hooks: dict[str, Kept] = {}
        self.changing = asyncio.Lock()
        """To be held from reading what a change depends on until it is made."""

    async def load(self) -> None:
        """Take in what the store has. What cannot be read or opened is reported, and is no hook."""
        for name, stored in (await self._store.load_all()).items():
            try:
                self._hooks[name] = self._opened(name, stored)
            except (ValidationError, ValueError, BrokenSeal) as error:
                # An error of validation shows what it was given: its kind is enough.
                structlog.get_logger().error("hook unreadable", hook=name, error=type(error).__name__)

    def find(self, name: str) -> Kept | None:
        return self._hooks.get(name)

    def get(self, name: str) -> Kept:
        """Raises ResourceNotFound."""
        found = self._hooks.get(name)
        if found is None:
            raise ResourceNotFound(f"There is no hook named {name!r}.")
        return found

    def hooks(self) -> list[Hook]:
        """Every hook in order of name."""
        return [self._hooks[name].hook for name in sorted(self._hooks)]

    async def create(self, kept: Kept) -> None:
        """A new hook, durably. Raises ResourceConflict."""
        async with self.changing:
            if kept.hook.name in self._hooks:
                raise ResourceConflict(f"There is a hook named {kept.hook.name!r} already.")
            if len(self._hooks) >= MAX_HOOKS:
                raise ResourceConflict(f"There are {MAX_HOOKS} hooks already. Delete one first.")
            await self.put(kept)

    async def put(self, kept: Kept) -> None:
        """Make this the hook of its name, durably. With `changing` held."""
        await self._store.put(kept.hook.name, self._sealed(kept))
        self._hooks[kept.hook.name] = kept

    async def remove(self, name: str) -> None:
        """Forget it, durably. Raises ResourceNotFound."""
        async with self.changing:
            self.get(name)
            await self._store.delete(name)
            del self._hooks[name]

    def _sealed(self, kept: Kept) -> bytes:
        name = _name(kept.hook.name)
        record = _Record(
            schema_version=SCHEMA,
            hook=kept.hook,
            sealed=self._sealer.seal(name, kept.secret).hex() if kept.secret else "",
            sealed_before=self._sealer.seal(name, kept.before).hex() if kept.before else "",
            before_until_s=kept.before_until_s,
        )
        return record.model_dump_json().encode()

    def _opened(self, name: str, stored: bytes) -> Kept:
        record = _Record.model_validate_json(stored)
        if record.schema_version > SCHEMA or record.hook.name != name:
            raise ValueError("not a hook of this name and schema")
        opened = [
            self._sealer.open(_name(name), bytes.fromhex(sealed)) if sealed else ""
            for sealed in (record.sealed, record.sealed_before)
        ]
        return Kept(record.hook, opened[0], opened[1], record.before_until_s)


def _name(hook: str) -> str:
    """What a hook's secret is sealed for: connections have names as well."""
    return f"hook:{hook}"
