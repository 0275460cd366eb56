"""The composition root: the one place that names concrete classes and joins them into a running Hearth.

The order is the order of trust: the store first, then the functions it knows, then the scheduler, which adopts or
removes the containers of the run before, then what takes events, and the one port last. It is left in reverse.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import redis.asyncio
import structlog

from hearth.adapters.docker_images import DockerImages
from hearth.adapters.redis_store import (
    RedisCapacityProviderStore,
    RedisFunctionStore,
    RedisLayerStore,
    RedisMappingStore,
    connect,
)
from hearth.config import Settings
from hearth.layers import LayerBook
from hearth.log_archive import LogArchive
from hearth.logs import FunctionLogs
from hearth.packages import CodePackages
from hearth.registry import Registry
from hearth_cli import guards, own_redis
from hearth_cli.connections_house import ConnectionUsers, open_connections
from hearth_cli.console import Failure
from hearth_cli.deliveries_house import async_invocations, post_office
from hearth_cli.event_house import EventHouse, Foundation, event_house
from hearth_cli.locations import DataDir, data_dir
from hearth_cli.reach import reach
from hearth_cli.scheduler_house import (
    Host,
    follower,
    function_containers,
    inspect_host,
    network_gateway,
    scheduler_engine,
    surroundings,
)
from hearth_cli.sources_house import source_openers
from hearth_cli.sqs_house import other_sqs
from hearth_gateway.adapters.redis_list import RedisQueues
from hearth_gateway.adapters.s3_code import S3Objects, S3Place
from hearth_gateway.core.authorization import Place as ResourcePlace
from hearth_gateway.core.endpoint import Endpoint
from hearth_gateway.lambda_api.capacity_providers import CapacityProviders
from hearth_gateway.lambda_api.control_plane import ControlPlane, control_plane
from hearth_gateway.lambda_api.event_source_mappings import EventSourceMappings, Place
from hearth_gateway.lambda_api.layers import policy_of_version
from hearth_gateway.lambda_api.provisioned import ProvisionedConcurrencyOperations
from hearth_gateway.neighbours.composition import neighbours
from hearth_gateway.neighbours.neighbours import Neighbours
from hearth_gateway.server import GatewayServer, Services
from hearth_gateway.sources.functions import RegistryFunctions
from hearth_gateway.sources.opening import OpenSources
from hearth_gateway.sources.ports import Surroundings as SourceSurroundings
from hearth_gateway.sources.ports import SystemClock
from hearth_gateway.sources.supervisor import EventSources
from hearth_scheduler.engine import Engine
from hearth_scheduler.reporter import Reporter

DRAIN_S = 20.0
"""How long a shutdown lets queue batches in flight finish; what still runs then is delivered again."""

log = structlog.get_logger(__name__)


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then let what is in flight finish. Raises what keeps Hearth from running."""
    guards.check(settings)
    place = data_dir(settings)
    url = own_redis.url(settings)
    run, clock = uuid.uuid4().hex[:12], SystemClock()
    async with AsyncExitStack() as stack:
        host = await asyncio.to_thread(inspect_host, settings, place)
        log.info("host", slots=host.slots.why, limits=host.limits.why, images=sorted(host.catalogue.images))
        client = connect(url)
        stack.push_async_callback(client.aclose)
        functions, mappings = RedisFunctionStore(client), RedisMappingStore(client)
        packages = await _packages(settings, place)
        logs = await stack.enter_async_context(FunctionLogs(place.root / "logs", settings.log_bytes_per_function))
        registry = Registry(functions)
        containers = await stack.enter_async_context(function_containers(settings, host))
        inside = reach(settings, await network_gateway(containers))
        around = surroundings(settings, host, place, inside, run=run)
        engine = scheduler_engine(
            settings, host, containers, Reporter(logs, settings.region), codes=packages, around=around
        )
        packages.ask_in_use(engine.codes_in_use)
        registry.on_change(follower(engine))
        await registry.load()
        await stack.enter_async_context(engine)
        endpoint = _endpoint(settings, host)
        layers = await _layers(client)
        objects = S3Objects(_s3(settings))
        stack.callback(objects.close)
        container_images = DockerImages(endpoint.architecture, settings.image_pull)
        stack.callback(container_images.close)
        plane = await stack.enter_async_context(
            control_plane(endpoint, registry, packages, layers=layers, objects=objects, images=container_images)
        )
        office = await stack.enter_async_context(post_office(settings, url, objects))
        around_sources = SourceSurroundings(
            engine,
            RegistryFunctions(registry),
            clock,
            settings.region,
            settings.account,
            max_receive_count=settings.max_receive_count,
            courier=office.courier,
            owns_queues="sqs" not in settings.aws_endpoints,
        )
        book, connections = await stack.enter_async_context(open_connections(settings, place, client, own_url=url))
        other = await stack.enter_async_context(other_sqs(settings, book, clock))
        opening = OpenSources(
            around_sources,
            RedisQueues(connections, run=run, previous_run=_exchange_run(place, run)),
            source_openers(connections, around_sources, office, run=run),
            partial(other.source, around=around_sources),
        )
        sources = await stack.enter_async_context(EventSources(mappings, opening, around_sources, drain_s=DRAIN_S))
        registry.on_change(lambda _: sources.functions_changed())
        _register_mappings(plane, sources, registry, Place(settings.region, settings.account, book), clock=clock)
        book.users_of = ConnectionUsers(sources, registry)
        await _register_capacity(plane, endpoint, registry, engine, store=RedisCapacityProviderStore(client))
        doors = await guards.doors(settings, place, client, registry=registry, sources=sources)
        doors.gate.policy_of_resource = partial(policy_of_version, layers)
        events = await stack.enter_async_context(async_invocations(settings, office, registry, engine, clock=clock))
        house = await stack.enter_async_context(
            event_house(
                Foundation(
                    settings, url, run, book, connections, other, registry, doors, sources, events, office, clock
                )
            )
        )
        services = Services(
            registry=registry,
            scheduler=engine,
            events=events,
            api=plane.api,
            packages=packages,
            logs=logs,
            health=partial(
                _health, settings, engine, registry, host=host, house=house, durability=lambda: functions.durability
            ),
            authenticator=doors.authenticator,
            gate=doors.gate,
            keys=doors.keys,
            url_guard=doors.url_guard,
            neighbours=_neighbours(settings, doors, logs, house),
            pages=house.pages,
            open_doors=house.open_doors,
        )
        await stack.enter_async_context(_server(settings, services, endpoint, also=inside.listen))
        log.info("serving", host=settings.host, port=settings.port, functions=inside.url)
        await stop.wait()


def _neighbours(settings: Settings, doors: guards.Doors, logs: FunctionLogs, house: EventHouse) -> Neighbours:
    place = ResourcePlace(settings.region, settings.account)
    return neighbours(place, doors.roles, doors.keys, LogArchive(logs), more=house.services)


async def _layers(client: "redis.asyncio.Redis") -> LayerBook:
    layers = LayerBook(RedisLayerStore(client))
    await layers.load()
    return layers


async def _packages(settings: Settings, place: DataDir) -> CodePackages:
    packages = CodePackages(place.root, max_total_bytes=settings.code_storage_bytes)
    await packages.open()
    return packages


def _endpoint(settings: Settings, host: Host) -> Endpoint:
    return Endpoint(
        settings.region,
        settings.account,
        settings.port,
        runtimes=host.catalogue,
        account_concurrency=settings.account_concurrency,
        unreserved_minimum=settings.unreserved_minimum,
        code_storage_bytes=settings.code_storage_bytes,
    )


def _s3(settings: Settings) -> S3Place:
    secret = settings.s3_secret_access_key
    return S3Place(
        settings.region,
        endpoint=settings.aws_endpoints.get("s3"),
        access_key_id=settings.s3_access_key_id,
        secret_access_key=None if secret is None else secret.get_secret_value(),
    )


def _exchange_run(place: DataDir, run: str) -> str | None:
    """Note this run's name and give the one before it, which is dead: this process holds the lock of the directory."""
    file = place.root / "last-run"
    previous = file.read_text(encoding="ascii").strip() if file.exists() else None
    fresh = file.with_suffix(".new")
    fresh.write_text(run, encoding="ascii")
    fresh.replace(file)
    return previous


def _register_mappings(
    plane: ControlPlane, sources: EventSources, registry: Registry, where: Place, *, clock: SystemClock
) -> None:
    mappings = EventSourceMappings(sources, registry, where, now_ms=clock.now_ms)
    mappings.register(plane.api)
    plane.tags.add_kind("event-source-mapping", mappings)


async def _register_capacity(
    plane: ControlPlane, endpoint: Endpoint, registry: Registry, engine: Engine, *, store: RedisCapacityProviderStore
) -> None:
    """The operations on capacity: what is kept ready, and what it is kept on."""
    ProvisionedConcurrencyOperations(endpoint, registry, engine, clock=time.time).register(plane.api)
    providers = CapacityProviders(endpoint, store, clock=time.time)
    await providers.load()
    providers.register(plane.api)


@asynccontextmanager
async def _server(
    settings: Settings, services: Services, endpoint: Endpoint, *, also: Sequence[str]
) -> AsyncIterator[None]:
    server = GatewayServer(services, endpoint, host=settings.host, port=settings.port, also=also)
    try:
        await server.__aenter__()
    except OSError as error:
        raise Failure(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error
    try:
        yield
    finally:
        await server.__aexit__()


def _health(
    settings: Settings,
    engine: Engine,
    registry: Registry,
    *,
    host: Host,
    house: EventHouse,
    durability: Callable[[], str],
) -> dict[str, object]:
    """What `/health` says. All of it is observed at this moment; none of it is a remembered state."""
    phases: dict[str, int] = {}
    for environment in engine.fleet.environments.values():
        phases[environment.phase.value] = phases.get(environment.phase.value, 0) + 1
    memory = engine.fleet.memory
    return {
        "status": "ok",
        "instance": settings.instance,
        "functions": len(registry),
        "durability": durability(),
        "in_flight": engine.fleet.caps.in_flight,
        "environments": phases,
        "stem_cells": {name: ready for name, (ready, _) in engine.fleet.stock.counts().items()},
        "memory_mib": {"used": memory.used_mib, "budget": memory.budget_mib},
        "counters": dict(engine.counters),
        "last_error": engine.last_error,
        "cold_starts_by": host.slots.why,
        "limits_by": host.limits.why,
        **{name: tell() for name, tell in house.health.items()},
    }
