"""Composes timers, which schedules and the rules of event buses share, and EventBridge Scheduler on top of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hearth.config import Settings
from hearth_cli.guards import Doors
from hearth_gateway.adapters.redis_connections import RedisConnections
from hearth_gateway.adapters.redis_schedules import RedisMarks, RedisSchedules
from hearth_gateway.asynchronous.ports import Courier
from hearth_gateway.core.bus_event import Place
from hearth_gateway.core.firing import MissedFirings
from hearth_gateway.neighbours.calls import NeighbourService
from hearth_gateway.neighbours.scheduler import scheduler_service
from hearth_gateway.neighbours.scheduler_roles import ExecutionRoles
from hearth_gateway.schedules.book import ScheduleBook
from hearth_gateway.schedules.pages import SchedulePages
from hearth_gateway.schedules.timers import TimerEngine
from hearth_gateway.sources.ports import Clock


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What schedules offer."""

    service: NeighbourService
    page: SchedulePages


@asynccontextmanager
async def own_timers(
    settings: Settings, connections: RedisConnections, courier: Courier, clock: Clock
) -> AsyncIterator[TimerEngine]:
    """Timers fire while the `with` lasts."""
    marks = RedisMarks(connections.connection())
    async with TimerEngine(marks, courier, clock, MissedFirings(settings.missed_firings)) as engine:
        yield engine


async def scheduling(
    settings: Settings, connections: RedisConnections, timers: TimerEngine, *, doors: Doors, clock: Clock
) -> Scheduling:
    """The schedules that are kept, their timers set."""
    roles = ExecutionRoles(doors.roles, settings.account)
    store = RedisSchedules(connections.connection())
    book = ScheduleBook(store, timers, Place(settings.region, settings.account), roles.refusal)
    await book.load(clock.now_ms())
    return Scheduling(scheduler_service(book, roles, clock.now_ms), SchedulePages(book, doors.gate))
