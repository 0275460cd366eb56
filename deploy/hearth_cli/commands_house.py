"""Commands about Hearth as a whole: up, down, status, env, config."""

import os
import shlex
import socket
import subprocess
from typing import Annotated, Any

import docker
import typer
from docker.errors import ImageNotFound
from rich.table import Table

from hearth.config import Settings
from hearth_cli import background, configuration, endpoint, images, own_redis, recipes, sweep
from hearth_cli.console import Failure, Progress, err, out, print_json, progress, say, warn
from hearth_cli.locations import DataDir, data_dir, key_pair

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

UP_LIMIT_S = 90.0


def up(as_json: AsJson = False) -> None:
    """Start Hearth in the background, and its own Redis before it."""
    settings = configuration.load()
    place = data_dir(settings)
    place.create()
    with background.turn(place), progress("looking around") as tell:
        was_running = _ensure_running(settings, place, tell)
    if as_json:
        print_json(_state(settings, place))
        return
    say("Hearth was running already" if was_running else "Hearth is running")
    _print_state(_state(settings, place))


def _ensure_running(settings: Settings, place: DataDir, tell: Progress) -> bool:
    """Whether it was running before."""
    was_running = background.running_pid(place) is not None
    client = sweep.engine()
    try:
        _refuse_missing_images(client, settings)
        if settings.redis_url is None:
            own_redis.ensure(client, settings, tell, may_replace=not was_running)
    finally:
        client.close()
    daemon = None
    if not was_running:
        _refuse_a_taken_port(settings)
        tell("starting Hearth")
        daemon = background.spawn(settings)
    _wait_until_healthy(settings, place, daemon)
    return was_running


def _refuse_missing_images(client: docker.DockerClient, settings: Settings) -> None:
    for name in recipes.DEFAULTS:
        reference = recipes.reference(name, settings.image_prefix)
        try:
            client.images.get(reference)
        except ImageNotFound as error:
            raise Failure(f"the image {reference} is missing: run `hearth images build`") from error


def _refuse_a_taken_port(settings: Settings) -> None:
    """Said here in a sentence, rather than found out by the daemon."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise Failure(
            f"cannot listen on {settings.host}:{settings.port} "
            f"({os.strerror(error.errno or 0)}): set HEARTH_PORT or HEARTH_HOST"
        ) from error


def _wait_until_healthy(settings: Settings, place: DataDir, daemon: "subprocess.Popen[bytes] | None") -> None:
    """Until the daemon says that it is well, dies, or takes too long."""

    def is_decided() -> bool:
        return endpoint.health(settings) is not None or (daemon is not None and daemon.poll() is not None)

    in_time = background.wait_until(is_decided, UP_LIMIT_S)
    if daemon is not None and daemon.poll() is not None:
        raise Failure(f"Hearth did not start: {background.why_it_ended(place)} (its log: {place.log})")
    if not in_time:
        raise Failure(f"Hearth did not answer within {UP_LIMIT_S:.0f} s; its log: {place.log}")


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Delete all data too: functions, queues, logs.")] = False,
) -> None:
    """Stop Hearth and leave no container, mount, socket or process. Data stays unless --purge."""
    settings = configuration.load()
    place = data_dir(settings)
    if not place.root.exists():
        _sweep(settings, place)
        say("Hearth is not running")
        return
    if not place.marker.exists():
        raise Failure(f"{place.root} is not a data directory of Hearth")
    with background.turn(place), progress("stopping Hearth") as tell:
        was_running = background.stop(place)
        tell("clearing up")
        _sweep(settings, place)
        if purge:
            tell("deleting all data")
            sweep.purge(place)
    say("Hearth has stopped" if was_running else "Hearth was not running; nothing of it is left")


def _sweep(settings: Settings, place: DataDir) -> None:
    """Containers before the mounts they hold. Without an engine the rest is done all the same."""
    try:
        client = sweep.engine()
    except Failure:
        sweep.run_files(place)
        raise
    try:
        own_redis.stop(client, settings)
        sweep.containers(client, settings.instance.__eq__)
        for name in sweep.networks(client, settings.instance.__eq__):
            warn(f"the network {name} stays: Docker counts a container on it that is not there, until its next start")
    finally:
        client.close()
    sweep.run_files(place)


def status(as_json: AsJson = False) -> None:
    """Say what is running and how it is. Exit code 1: Hearth is not running."""
    settings = configuration.load()
    state = _state(settings, data_dir(settings)) | {"images_outdated": _outdated(settings)}
    if as_json:
        print_json(state)
    else:
        _print_state(state)
    if not state["running"]:
        raise typer.Exit(1)


def _state(settings: Settings, place: DataDir) -> dict[str, Any]:
    pid = background.running_pid(place)
    health = endpoint.health(settings) if pid is not None else None
    return {
        "running": health is not None,
        "endpoint": endpoint.url(settings),
        "pid": pid,
        "instance": settings.instance,
        "data_dir": str(place.root),
        "log": str(place.log),
        "health": health,
    }


def _outdated(settings: Settings) -> list[str] | None:
    """None: nobody can tell, because no engine answers."""
    try:
        client = sweep.engine()
    except Failure as problem:
        warn(str(problem))
        return None
    try:
        return images.outdated(client, settings.image_prefix)
    finally:
        client.close()


def _print_state(state: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    health = state["health"] or {}
    for name, value in {**{k: v for k, v in state.items() if k != "health"}, **health}.items():
        table.add_row(name.replace("_", " "), _plain(value))
    out.print(table)


def _plain(value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{key}: {_plain(each)}" for key, each in value.items()) or "none"
        case list():
            return ", ".join(map(_plain, value)) or "none"
        case bool():
            return "yes" if value else "no"
        case None:
            return "-"
        case _:
            return str(value)


def environment(settings: Settings) -> dict[str, str]:
    """The variables that point AWS clients and redis-cli at this Hearth."""
    keys = key_pair(data_dir(settings))
    return {
        "AWS_ENDPOINT_URL": endpoint.url(settings),
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        "AWS_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
        "HEARTH_REDIS_URL": own_redis.url(settings),
    }


def env(as_json: AsJson = False) -> None:
    """Print shell exports for AWS clients and redis-cli: eval "$(hearth env)"."""
    settings = configuration.load()
    data_dir(settings).create()
    variables = environment(settings)
    if as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        out.print(f"export {name}={shlex.quote(value)}", markup=False)


def config(as_json: AsJson = False) -> None:
    """Print the effective settings and where each comes from."""
    rows = configuration.rows(configuration.load(), os.environ)
    if as_json:
        print_json({row.name: {"value": row.value, "source": row.source} for row in rows})
        return
    table = Table("setting", "value", "from", "meaning", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(row.name, _plain(row.value), row.source, row.meaning)
    out.print(table)
    if configuration.config_file() is None:
        err.print("no hearth.yaml or hearth.toml here, and HEARTH_CONFIG names none", style="dim")
