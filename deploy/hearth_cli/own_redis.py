"""Hearth's own Redis: one container per instance, reachable from this host only, its data in the data directory.

Rule 1: the container's label says what it was made from. Equal and running: it is kept (`hearth down` alone stops it).
Rule 2: a container of that name with another data directory belongs to another Hearth and is never touched.
Rule 3: the password is in files that their owners alone can read, never on a command line.
"""

import hashlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import redis
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import LogConfig, Ulimit

from hearth.config import Settings
from hearth_cli import recipes
from hearth_cli.console import Failure, Progress, quiet
from hearth_cli.locations import DataDir, data_dir, redis_password
from hearth_scheduler.ports import LABEL_INSTANCE, LABEL_ROLE

ROLE = "redis"
LABEL_DATA_DIR = "hearth.data-dir"
LABEL_MADE_FROM = "hearth.made-from"

_UID = _GID = 991
"""Who Redis is when root starts it: nobody else on the host, and not the functions' user either."""
_CONFIG = "/hearth-redis.conf"
"""Not in /etc/redis, which Debian closes to all but its own redis user."""
_READY_LIMIT_S = 300.0  # a large append-only file takes its time to load
_LOOK_EVERY_S = 0.05
_SAVE_LIMIT_S = 60
_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the container has to be."""

    name: str
    image_id: str
    port: int
    place: DataDir
    uid: int
    gid: int
    config: str

    @property
    def made_from(self) -> str:
        parts = (self.image_id, str(self.place.root), str(self.uid), str(self.gid), self.config)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def url(settings: Settings) -> str:
    """The URL of the Redis that Hearth stores everything in: the operator's, or Hearth's own."""
    if settings.redis_url is not None:
        return settings.redis_url
    # `default`, since redis-cli takes a URL without a user for a user without a name.
    return f"redis://default:{redis_password(data_dir(settings))}@127.0.0.1:{settings.redis_port}/0"


def container_name(settings: Settings) -> str:
    return f"hearth-{settings.instance}-redis"


def ensure(
    client: docker.DockerClient, settings: Settings, progress: Progress = quiet, *, may_replace: bool = True
) -> str:
    """Start Hearth's own Redis, or keep the one that runs, and wait until it answers. Returns its URL.

    `may_replace`: whether a running one may be restarted when its image or its settings have changed.
    """
    plan = _plan(client, settings)
    container = _existing(client, plan.name, plan.place)
    if container is not None and not _fits(container, plan) and (may_replace or container.status != "running"):
        progress("replacing Hearth's Redis, whose image or settings have changed")
        _stop(container)
        container = None
    if container is None:
        progress("starting Hearth's Redis")
        _refuse_a_taken_port(plan.port)
        container = _create(client, plan)
    elif container.status != "running":
        progress("starting Hearth's Redis")
        container.start()
    _wait_until_ready(container, settings, progress)
    return url(settings)


def stop(client: docker.DockerClient, settings: Settings) -> bool:
    """Stop Hearth's own Redis, which saves first, and remove its container. False if there was none."""
    container = _existing(client, container_name(settings), data_dir(settings))
    if container is None:
        return False
    _stop(container)
    return True


def _plan(client: docker.DockerClient, settings: Settings) -> _Plan:
    place = data_dir(settings)
    reference = recipes.reference(recipes.REDIS, settings.image_prefix)
    try:
        image_id = str(client.images.get(reference).id)
    except ImageNotFound as error:
        raise Failure(f"the image {reference} is missing: run `hearth images build`") from error
    uid, gid = (_UID, _GID) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    config = _config(settings.redis_port, redis_password(place))
    return _Plan(container_name(settings), image_id, settings.redis_port, place, uid, gid, config)


def _config(port: int, password: str) -> str:
    """All that Redis is told. The append-only file is the whole truth; forgetting is no answer to a lack of memory."""
    return "\n".join(
        (
            "bind 127.0.0.1",
            "protected-mode yes",
            f"port {port}",
            f"requirepass {password}",
            "dir /data",
            "appendonly yes",
            "appendfsync always",
            "aof-load-truncated yes",
            'save ""',
            "maxmemory-policy noeviction",
            "",
        )
    )


def _find(client: docker.DockerClient, name: str) -> Container | None:
    try:
        return client.containers.get(name)
    except NotFound:
        return None


def _existing(client: docker.DockerClient, name: str, place: DataDir) -> Container | None:
    container = _find(client, name)
    if container is None:
        return None
    owner = container.labels.get(LABEL_DATA_DIR)
    if owner != str(place.root):
        raise Failure(
            f"the container {name} belongs to {owner or 'something that is not Hearth'}: "
            "give this Hearth an `instance` name of its own"
        )
    return container


def _fits(container: Container, plan: _Plan) -> bool:
    return container.labels.get(LABEL_MADE_FROM) == plan.made_from and container.status in ("running", "exited")


def _refuse_a_taken_port(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise Failure(f"port {port} for Hearth's Redis is taken: set HEARTH_REDIS_PORT") from error


def _create(client: docker.DockerClient, plan: _Plan) -> Container:
    _prepare_files(plan)
    try:
        container = client.containers.create(plan.image_id, **_template(plan))
        container.start()
    except APIError as error:
        leftover = _find(client, plan.name)
        if error.status_code != _CONFLICT and leftover is not None:
            leftover.remove(force=True)
        raise Failure(f"Hearth's Redis did not start: {error.explanation or error}") from error
    return container


def _prepare_files(plan: _Plan) -> None:
    """The data directory and the settings file, Redis' own. Atomically: a running Redis may be reading the latter."""
    plan.place.redis.mkdir(mode=0o700, exist_ok=True)
    fresh = plan.place.redis_conf.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(plan.config)
    if os.geteuid() == 0:
        os.chown(fresh, plan.uid, plan.gid)
        _give(plan.place.redis, plan.uid, plan.gid)
    fresh.replace(plan.place.redis_conf)


def _give(folder: Path, uid: int, gid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


def _template(plan: _Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "entrypoint": ["/usr/bin/redis-server", _CONFIG],
        "user": f"{plan.uid}:{plan.gid}",
        "labels": {
            LABEL_INSTANCE: plan.name.removeprefix("hearth-").removesuffix("-redis"),
            LABEL_ROLE: ROLE,
            LABEL_DATA_DIR: str(plan.place.root),
            LABEL_MADE_FROM: plan.made_from,
        },
        # The host's network, but Redis binds to loopback: no port is published, no proxy is on the way.
        "network_mode": "host",
        "userns_mode": "host",
        "volumes": {
            str(plan.place.redis): {"bind": "/data", "mode": "rw"},
            str(plan.place.redis_conf): {"bind": _CONFIG, "mode": "ro"},
        },
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": 64,
        "ulimits": [Ulimit(name="nofile", soft=16384, hard=16384)],
        "restart_policy": {"Name": "unless-stopped"},
        "stop_signal": "SIGTERM",
        "log_config": LogConfig(type="local", config={"max-size": "1m", "max-file": "2"}),
    }


def _wait_until_ready(container: Container, settings: Settings, progress: Progress) -> None:
    """Until PING is answered. A Redis that loads its data counts as coming; one that dies does not."""
    until = time.monotonic() + _READY_LIMIT_S
    with redis.Redis.from_url(url(settings), socket_timeout=5, socket_connect_timeout=5) as connection:
        while True:
            try:
                connection.ping()
                return
            except redis.exceptions.BusyLoadingError:
                progress("Hearth's Redis is loading its data")
            except redis.exceptions.AuthenticationError as error:
                raise Failure(f"port {settings.redis_port} is another Redis: set HEARTH_REDIS_PORT") from error
            except redis.exceptions.RedisError:
                _refuse_a_dead_one(container)
            if time.monotonic() > until:
                raise Failure(f"Hearth's Redis did not answer within {_READY_LIMIT_S:.0f} s: {_last_words(container)}")
            time.sleep(_LOOK_EVERY_S)


def _refuse_a_dead_one(container: Container) -> None:
    container.reload()
    if container.status in ("exited", "restarting", "dead"):
        words = _last_words(container)
        container.remove(force=True)
        raise Failure(f"Hearth's Redis does not stay up: {words}")


def _last_words(container: Container) -> str:
    lines = container.logs(tail=3).decode(errors="replace").strip().splitlines()
    return " / ".join(lines) or "it says nothing"


def _stop(container: Container) -> None:
    """SIGTERM: Redis syncs its append-only file and leaves."""
    try:
        container.stop(timeout=_SAVE_LIMIT_S)
        container.remove(v=True, force=True)
    except NotFound:
        pass
    except APIError as error:
        if error.status_code != _CONFLICT:
            raise Failure(f"Hearth's Redis did not stop: {error.explanation or error}") from error
