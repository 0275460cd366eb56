"""The buses and rules of this installation: in memory, every change durable first.

Rule 1: the store is written before memory. Rule 2: one writer at a time (`changing`); readers never wait.
Rule 3: the bus `default` is always there.
State: `_buses` and `_rules` are changed by `load`, `put` and `remove` only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from hearth.core.errors import ResourceNotFound
from hearth_gateway.bus.bus_record import UnreadableRecord, decode, encode, key_of
from hearth_gateway.bus.ports import Records
from hearth_gateway.core.bus_event import Place
from hearth_gateway.core.bus_rule import DEFAULT_BUS, Bus, ReadyRule, Rule, ready, rule_arn
from hearth_gateway.core.event_pattern import InvalidPattern
from hearth_gateway.core.input_transformer import InvalidInput

Follower = Callable[[str, ReadyRule | None], Awaitable[None]]
"""Told of every rule that came, changed (the rule) or went (None), by its ARN."""


class Catalogue:
    """Every bus and every rule, the rules ready to be used."""

    def __init__(self, store: Records, place: Place) -> None:
        self._store = store
        self.place = place
        self._buses = {DEFAULT_BUS: Bus(DEFAULT_BUS, 0, 0)}
        self._rules: dict[str, dict[str, ReadyRule]] = {}
        self._followers: list[Follower] = []
        self.changing = asyncio.Lock()
        """To be held from reading what a change depends on until it is made."""

    def on_change(self, follower: Follower) -> None:
        """Tell it of every change from now on, and of what `load` finds."""
        self._followers.append(follower)

    async def load(self) -> None:
        """Take in what the store has. A record that cannot be read is reported and left where it is."""
        for key, stored in (await self._store.load_all()).items():
            try:
                await self._take(decode(key, stored))
            except (UnreadableRecord, InvalidPattern, InvalidInput) as error:
                structlog.get_logger().error("record of a bus or rule unreadable", key=key, error=str(error))

    def buses(self) -> list[Bus]:
        """Every bus in order of name."""
        return sorted(self._buses.values(), key=lambda bus: bus.name)

    def find_bus(self, name: str) -> Bus | None:
        return self._buses.get(name)

    def bus(self, name: str) -> Bus:
        """The bus of this name. Raises ResourceNotFound."""
        found = self._buses.get(name)
        if found is None:
            raise ResourceNotFound(f"Event bus {name} does not exist.")
        return found

    def ready_rules(self, bus: str) -> Sequence[ReadyRule]:
        """The rules of a bus, as they come: for events."""
        return tuple(self._rules.get(bus, _NO_RULES).values())

    def rules(self, bus: str) -> list[Rule]:
        """The rules of a bus in order of name."""
        return sorted((one.rule for one in self.ready_rules(bus)), key=lambda rule: rule.name)

    def find_rule(self, bus: str, name: str) -> Rule | None:
        found = self._rules.get(bus, _NO_RULES).get(name)
        return None if found is None else found.rule

    def rule(self, bus: str, name: str) -> Rule:
        """The rule of this name. Raises ResourceNotFound."""
        self.bus(bus)
        found = self.find_rule(bus, name)
        if found is None:
            raise ResourceNotFound(f"Rule {name} does not exist on EventBus {bus}.")
        return found

    async def put(self, record: Bus | Rule) -> None:
        """Make this the bus or rule of its name, durably. With `changing` held."""
        await self._store.put(key_of(record), encode(record))
        await self._take(record)

    async def remove(self, record: Bus | Rule) -> None:
        """Forget it, durably. With `changing` held."""
        await self._store.delete(key_of(record))
        match record:
            case Bus():
                self._buses.pop(record.name, None)
            case Rule():
                self._rules.get(record.bus, {}).pop(record.name, None)
                await self._tell(rule_arn(self.place, record.bus, record.name), None)

    async def _take(self, record: Bus | Rule) -> None:
        match record:
            case Bus():
                self._buses[record.name] = record
            case Rule():
                made = ready(record, self.place)
                self._rules.setdefault(record.bus, {})[record.name] = made
                await self._tell(made.arn, made)

    async def _tell(self, arn: str, rule: ReadyRule | None) -> None:
        for follower in self._followers:
            await follower(arn, rule)


_NO_RULES: Mapping[str, ReadyRule] = {}
