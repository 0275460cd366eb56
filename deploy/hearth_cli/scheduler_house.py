"""Composes the scheduler: what this machine can do, the containers of the functions, and the engine that runs them."""

import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import structlog

from hearth.config import Settings
from hearth.core.identity import SessionIssuer
from hearth.core.runtimes import Catalogue, Choice
from hearth.packages import CodePackages
from hearth.registry import Change, Configured, Forgotten, Limited, Provisioned, Withdrawn
from hearth_cli import images, sweep
from hearth_cli.locations import DataDir, session_key
from hearth_cli.reach import Reach
from hearth_scheduler.adapters.docker_containers import DockerContainers
from hearth_scheduler.adapters.docker_template import Template
from hearth_scheduler.adapters.host_abilities import LimitsChoice, SlotsChoice, choose_limits, choose_slots
from hearth_scheduler.adapters.processors import Processors
from hearth_scheduler.core.fleet import Fleet
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.core.stream_pace import StreamLimits
from hearth_scheduler.core.variables import endpoint_variables
from hearth_scheduler.engine import Engine
from hearth_scheduler.environments import Environments
from hearth_scheduler.launches import Surroundings
from hearth_scheduler.ports import ContainerError
from hearth_scheduler.reporter import Reporter
from hearth_scheduler.role_credentials import RoleCredentials

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Host:
    """What was found out about this machine at the start."""

    init: Path
    catalogue: Catalogue
    slots: SlotsChoice
    limits: LimitsChoice


def inspect_host(settings: Settings, place: DataDir) -> Host:
    """Look at the engine, the images and what this process may do. Blocking."""
    engine = sweep.engine()
    try:
        return Host(
            init=images.extract_init(engine, place.root, settings.image_prefix),
            catalogue=images.catalogue(engine, settings),
            slots=choose_slots(place.root, settings.cold_start_mode, engine.info()),
            limits=choose_limits(),
        )
    finally:
        engine.close()


@asynccontextmanager
async def function_containers(settings: Settings, host: Host) -> AsyncIterator[DockerContainers]:
    """The containers of the functions, their network and the slots they start in; left, all three are gone."""
    template = Template(settings.instance, host.init, host.slots.bind_mode)
    containers = DockerContainers(template, network=settings.function_network, parallel_starts=settings.parallel_starts)
    async with AsyncExitStack() as stack:
        stack.callback(containers.close)
        stack.push_async_callback(_remove_network, containers)
        stack.push_async_callback(host.slots.slots.destroy)
        yield containers


async def _remove_network(containers: DockerContainers) -> None:
    """Not while containers use it, which it is when the start failed: then that is the error to show, not this one."""
    try:
        await containers.remove_network()
    except ContainerError as error:
        log.warning("the network of the functions stays", error=str(error))


async def network_gateway(containers: DockerContainers) -> str | None:
    """Without a network no function starts, and each start says so; this Hearth can still be asked and mended."""
    try:
        return await containers.gateway()
    except ContainerError as error:
        log.error("no network for functions", error=str(error))
        return None


def scheduler_engine(
    settings: Settings,
    host: Host,
    containers: DockerContainers,
    reporter: Reporter,
    *,
    codes: CodePackages,
    around: Surroundings,
) -> Engine:
    policy = Policy(
        account_concurrency=settings.account_concurrency,
        memory_budget_mib=settings.memory_budget_mib,
        idle_timeout_s=settings.idle_timeout_s,
        init_timeout_s=settings.init_timeout_s,
        start_timeout_s=settings.start_timeout_s,
        environment_lifetime_s=settings.environment_lifetime_s,
        parallel_starts=settings.parallel_starts,
        stem_cells_max=settings.stem_cells_max,
        processors=os.cpu_count() or 1,
    )
    choices = host.catalogue.choices()
    stem_of = {identifier: choice.interpreter for identifier, choice in choices.items() if choice.image.is_stem}
    fleet = Fleet(policy, _stem_cells(settings, choices), lambda: uuid.uuid4().hex, stem_of.get)
    environments = Environments(containers, host.slots.slots, host.limits.limits, reporter=reporter, around=around)
    streams = StreamLimits(settings.stream_max_bytes, settings.stream_rate_bytes_per_s)
    return Engine(fleet, environments, reporter, codes, stream_limits=streams, host_is_busy=Processors().are_busy)


def surroundings(settings: Settings, host: Host, place: DataDir, inside: Reach, *, run: str) -> Surroundings:
    choices = host.catalogue.choices()
    return Surroundings(
        settings.region,
        epoch=run,
        images={choice.interpreter: choice.image.reference for choice in choices.values()},
        interpreters={identifier: choice.interpreter for identifier, choice in choices.items()},
        endpoints=endpoint_variables(inside.url, inside.services),
        credentials=RoleCredentials(SessionIssuer(session_key(place)), settings.environment_lifetime_s),
    )


def _stem_cells(settings: Settings, choices: Mapping[str, Choice]) -> dict[str, int]:
    """How many stem cells to keep of each interpreter. The setting names runtime identifiers; several may have one."""
    floors: dict[str, int] = {}
    for identifier, count in settings.stem_cells.items():
        choice = choices.get(identifier)
        if choice is not None and choice.image.is_stem:
            floors[choice.interpreter] = max(count, floors.get(choice.interpreter, 0))
    return floors


def follower(engine: Engine) -> Callable[[Change], None]:
    """Tells the scheduler of every change of a function."""

    def follow(change: Change) -> None:
        match change:
            case Configured():
                engine.configure(change.version)
            case Withdrawn():
                engine.withdraw(change.name, change.version)
            case Limited():
                engine.limit(change.name, change.reserved)
            case Provisioned():
                engine.provision(change.name, change.version, change.count, change.most)
            case Forgotten():
                engine.forget(change.name)  # its log stays, until it is deleted or too old
            case _:
                assert_never(change)

    return follow
