"""Every schedule of this Hearth and its groups: the catalogue, and a timer for each schedule that is enabled.

Rule 1: a change is durable before it is visible, and visible before its timer is set.
Rule 2: one change at a time (`changing`); whoever changes holds it from the first look to the last write.
State: `_groups` and `_schedules` are changed here only, on one event loop.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog
from pydantic import TypeAdapter, ValidationError

from hearth_gateway.core.bus_event import Place
from hearth_gateway.core.dead_letter import undelivered
from hearth_gateway.core.firing import Firing
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.schedule import (
    DEFAULT_GROUP,
    Schedule,
    ScheduleGroup,
    ScheduleState,
    check_target,
    parcel_of,
    timer_of,
)
from hearth_gateway.schedules.ports import Completed, Progress, ScheduleStore, Timers
from hearth_gateway.schedules.zones import zone_named

_SCHEDULES = TypeAdapter(Schedule)
_GROUPS = TypeAdapter(ScheduleGroup)

Refusal = Callable[[str, str, str], str]
"""Why a role may not do an action to a resource (all by name or ARN); "" if it may."""

log = structlog.get_logger(__name__)


class ScheduleBook:
    """The catalogue. Load it once, before it is used."""

    def __init__(self, store: ScheduleStore, timers: Timers, place: Place, refusal: Refusal) -> None:
        self.changing = asyncio.Lock()
        self.place = place
        self._store = store
        self._timers = timers
        self._refusal = refusal
        self._groups: dict[str, ScheduleGroup] = {}
        self._schedules: dict[str, Schedule] = {}

    async def load(self, now_ms: int) -> None:
        """Read everything and set the timers. The group `default` is made if it is not there. Raises ServiceError."""
        groups, schedules = await self._store.load()
        for record in groups.values():
            self._take_group(record)
        if DEFAULT_GROUP not in self._groups:
            await self.put_group(ScheduleGroup(DEFAULT_GROUP, now_ms, now_ms))
        for key, record in schedules.items():
            try:
                schedule = _SCHEDULES.validate_json(record)
            except ValidationError as error:
                log.error("schedule record unreadable", schedule=key, error=str(error))
                continue
            self._schedules[key] = schedule
            self._set_timer(schedule)

    # Reading

    def group(self, name: str) -> ScheduleGroup | None:
        return self._groups.get(name)

    def groups(self) -> list[ScheduleGroup]:
        """In order of their names."""
        return [self._groups[name] for name in sorted(self._groups)]

    def schedule(self, group: str, name: str) -> Schedule | None:
        return self._schedules.get(f"{group}/{name}")

    def schedules(self) -> list[Schedule]:
        """In order of their groups' names and their own."""
        return sorted(self._schedules.values(), key=lambda schedule: (schedule.group, schedule.name))

    def progress(self, schedule: Schedule) -> Progress:
        """How far its timer came."""
        return self._timers.progress(schedule.arn)

    # Changing

    async def put(self, schedule: Schedule) -> None:
        """Take in a schedule, or another version of it. Raises ServiceError."""
        await self._store.put(schedule.key, _SCHEDULES.dump_json(schedule))
        self._schedules[schedule.key] = schedule
        if schedule.state is ScheduleState.ENABLED:
            self._set_timer(schedule)
        else:
            await self._timers.remove(schedule.arn)

    async def delete(self, schedule: Schedule) -> None:
        """Forget a schedule and its timer. Raises ServiceError."""
        await self._store.delete(schedule.key)
        self._schedules.pop(schedule.key, None)
        await self._timers.remove(schedule.arn)

    async def put_group(self, group: ScheduleGroup) -> None:
        """Take in a group, or another version of it; its schedules follow its policy. Raises ServiceError."""
        before = self._groups.get(group.name)
        await self._store.put_group(group.name, _GROUPS.dump_json(group))
        self._groups[group.name] = group
        if before is not None and before.missed is not group.missed:
            for schedule in self._of_group(group.name):
                self._set_timer(schedule)

    async def delete_group(self, group: ScheduleGroup) -> None:
        """Forget a group and all of its schedules. Raises ServiceError."""
        schedules = self._of_group(group.name)
        await self._store.delete_group(group.name, [schedule.key for schedule in schedules])
        del self._groups[group.name]
        for schedule in schedules:
            self._schedules.pop(schedule.key, None)
        for schedule in schedules:
            await self._timers.remove(schedule.arn)

    def _of_group(self, name: str) -> Sequence[Schedule]:
        return [schedule for schedule in self._schedules.values() if schedule.group == name]

    def _take_group(self, record: bytes) -> None:
        try:
            group = _GROUPS.validate_json(record)
        except ValidationError as error:
            log.error("schedule group record unreadable", error=str(error))
            return
        self._groups[group.name] = group

    # Firing

    def _set_timer(self, schedule: Schedule) -> None:
        if schedule.state is not ScheduleState.ENABLED:
            return
        group = self._groups.get(schedule.group)
        try:
            timer = timer_of(schedule, zone_named(schedule.zone), group.missed if group else None)
        except ValueError as error:  # of another version of Hearth, or of the database of time zones
            log.error("schedule cannot be timed", schedule=schedule.arn, error=str(error))
            return

        def post(firing: Firing) -> Sequence[Parcel]:
            return self._parcels(schedule, firing)

        self._timers.put(timer, post, self._end_of(schedule) if schedule.is_deleted_after_completion else None)

    def _parcels(self, schedule: Schedule, firing: Firing) -> Sequence[Parcel]:
        """What a firing sends: its parcel, or, where the role may not send it, that to the dead-letter queue."""
        parcel = parcel_of(schedule, firing, self.place)
        if schedule.is_by_maker:
            return (parcel,)
        action, resource = check_target(schedule.target, self.place)
        refusal = self._refusal(schedule.target["RoleArn"], action, resource)
        if not refusal:
            return (parcel,)
        log.warning("a schedule's role may not reach its target", schedule=schedule.arn, error=refusal)
        dead = undelivered(parcel, code="NO_PERMISSIONS", message=refusal, attempts=1, now_ms=firing.fired_ms)
        return (dead,) if isinstance(dead, Parcel) else ()

    def _end_of(self, schedule: Schedule) -> Completed:
        async def delete() -> None:
            async with self.changing:
                if self._schedules.get(schedule.key) is schedule:
                    await self.delete(schedule)

        return delete


def changed(before: Schedule, after: Schedule, now_ms: int) -> Schedule:
    """The next version of a schedule. Unless its times are others now, it goes on where it was."""
    after = replace(after, created_ms=before.created_ms, modified_ms=now_ms)
    if _times(before) == _times(after):
        return replace(after, since_ms=before.since_ms, anchor_ms=before.anchor_ms)
    if (before.expression, before.start_ms) == (after.expression, after.start_ms):
        return replace(after, anchor_ms=before.anchor_ms)
    return after


def _times(schedule: Schedule) -> tuple[object, ...]:
    return (schedule.expression, schedule.zone, schedule.start_ms, schedule.end_ms, schedule.window_min, schedule.state)
