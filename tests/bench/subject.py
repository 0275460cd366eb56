"""A Hearth of the benchmark's own: started by the `hearth` command, filled through boto3, gone without a trace.

Rule 1: everything is done from outside, as a user would: command, Lambda API, HTTP, Redis. Nothing is imported.
"""

import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar
from urllib.parse import quote

import boto3
import docker
import redis
from botocore.config import Config
from docker.models.containers import Container
from tests.bench.load import Target
from tests.signing import signature

RUNTIME = "python3.13"
ROLE = "arn:aws:iam::000000000000:role/bench"
ONE_VCPU_MIB = 1769
"""Memory of the functions whose throughput is measured: a whole CPU, so that the CPU quota is not what is measured."""
PLENTY_MIB = 4_000_000
"""Memory budget of the environments: never what limits, since none of these functions uses what it may."""
_COMMAND_LIMIT_S = 180.0
_WAIT_LIMIT_S = 60.0
SETTLE_S = 20.0
SETTLE_PER_STEM_S = 3.0
"""A stock is filled gently, and slower still while the host is busy."""
_LOOK_EVERY_S = 0.05


_PARALLEL = 16

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class BenchFailure(Exception):
    """A row cannot be measured; the message says why."""


class Hearth:
    """A running Hearth. `settings` are its `HEARTH_*` variables without the prefix."""

    def __init__(self, folder: Path, engine: docker.DockerClient, settings: Mapping[str, str]) -> None:
        self.instance = f"bench-{os.getpid()}"
        self.data_dir = folder / "data"
        self.engine = engine
        self.port = _free_port()
        self._folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("HEARTH_")} | {
            "HEARTH_DATA_DIR": str(self.data_dir),
            "HEARTH_PORT": str(self.port),
            "HEARTH_REDIS_PORT": str(_free_port()),
            "HEARTH_INSTANCE": self.instance,
            "HEARTH_MEMORY_BUDGET_MIB": str(PLENTY_MIB),
            **{f"HEARTH_{name}": value for name, value in settings.items()},
        }
        self.variables: dict[str, str] = {}
        self.api: Any = None

    # ---- its life ----

    def command(self, *arguments: str) -> str:
        """Run `hearth …` and return what it printed."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "hearth"), *arguments],
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=_COMMAND_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            raise BenchFailure(f"hearth {' '.join(arguments)}: {done.stderr.strip()[-1000:]}")
        return done.stdout

    def up(self) -> None:
        self.command("up")
        self.variables = json.loads(self.command("env", "--json"))
        self.api = boto3.client(
            "lambda",
            endpoint_url=self.variables["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
            region_name=self.variables["AWS_REGION"],
            config=Config(
                max_pool_connections=_PARALLEL, retries={"total_max_attempts": 1}, proxies={}, read_timeout=120
            ),
        )

    def down(self) -> None:
        self.command("down")

    def pid(self) -> int:
        """The daemon's process."""
        return int(json.loads(self.command("status", "--json"))["pid"])

    def kill(self) -> None:
        """SIGKILL to the daemon."""
        os.kill(self.pid(), signal.SIGKILL)

    # ---- looking at it ----

    def get(self, path: str, *, is_signed: bool = False) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_WAIT_LIMIT_S)
        try:
            address = f"http://127.0.0.1:{self.port}{path}"
            connection.request("GET", path, headers=signature(self.variables, "GET", address) if is_signed else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def health(self) -> dict[str, Any]:
        status, body = self.get("/health")
        if status != 200:
            raise BenchFailure(f"/health answers {status}")
        value: dict[str, Any] = json.loads(body)
        return value

    def containers(self, role: str = "environment") -> list[Container]:
        """All containers of this instance with that role, whatever their state."""
        labels = [f"hearth.instance={self.instance}", f"hearth.role={role}"]
        return list(self.engine.containers.list(all=True, filters={"label": labels}, ignore_removed=True))

    def redis(self) -> "redis.Redis":
        return redis.Redis.from_url(self.variables["HEARTH_REDIS_URL"], decode_responses=True, socket_timeout=30)

    def log(self, function: str, max_bytes: int = 16 * 2**20) -> str:
        """The function's newest output, one stream after the other: an entry may be a part of a line."""
        status, body = self.get(f"/_hearth/logs/{quote(function)}?bytes={max_bytes}&follow=0", is_signed=True)
        if status != 200:
            raise BenchFailure(f"the log of {function} answers {status}: {body[:200]!r}")
        streams: dict[str, list[str]] = {}
        for line in body.splitlines():
            if line.strip():
                _, stream, text = json.loads(line)
                streams.setdefault(stream, []).append(text)
        return "".join("".join(texts) for texts in streams.values())

    # ---- waiting for it ----

    def settle(self) -> None:
        """Wait until the stem cells that are wanted are ready and nothing starts or stops. A host that others keep busy
        may never get there: then go on with what there is, which the rows say."""
        wanted = self._wanted_stems()
        until = time.monotonic() + SETTLE_S + SETTLE_PER_STEM_S * wanted
        while not (self.ready_stems() >= wanted and self._is_still()):
            if time.monotonic() > until:
                if wanted and not self.ready_stems():
                    raise BenchFailure("no stem cell became ready")
                return
            time.sleep(_LOOK_EVERY_S)

    def _is_still(self) -> bool:
        return len(self.containers()) == sum(map(int, self.health()["environments"].values()))

    def ready_stems(self) -> int:
        """How many stem cells of our runtime wait."""
        return int(self.health()["stem_cells"].get(RUNTIME, 0))

    def _wanted_stems(self) -> int:
        wish = json.loads(self._environment.get("HEARTH_STEM_CELLS", '{"python3.13": 4}'))
        return int(wish.get(RUNTIME, 0))

    # ---- its functions ----

    def deploy(self, name: str, code: str, *, memory_mib: int = 128, timeout_s: int = 30) -> Target:
        """Create the function with a URL, wait until it is active, and return what to request."""
        self.create(name, code, memory_mib=memory_mib, timeout_s=timeout_s)
        self.api.create_function_url_config(FunctionName=name, AuthType="NONE")
        return Target("127.0.0.1", self.port, f"/fn/{name}/")

    def create(self, name: str, code: str, *, memory_mib: int = 128, timeout_s: int = 30) -> None:
        self.api.create_function(
            FunctionName=name,
            Runtime=RUNTIME,
            Role=ROLE,
            Handler="app.handler",
            Code={"ZipFile": package(code)},
            MemorySize=memory_mib,
            Timeout=timeout_s,
        )
        wait_until(lambda: self._is_active(name), f"{name} is active")

    def _is_active(self, name: str) -> bool:
        state = self.api.get_function_configuration(FunctionName=name)["State"]
        if state == "Failed":
            raise BenchFailure(f"{name} cannot be deployed")
        return bool(state == "Active")

    @contextmanager
    def function(self, name: str, code: str, *, memory_mib: int = 128) -> Iterator[Target]:
        """A function with a URL, while the `with` lasts."""
        try:
            yield self.deploy(name, code, memory_mib=memory_mib)
        finally:
            self.delete(name)

    def delete(self, *names: str) -> None:
        """Delete functions and wait until their environments are gone; the stock need not be full again."""
        at_once(lambda name: self.api.delete_function(FunctionName=name), names)
        wait_until(self._is_still, "the environments are gone")

    def map_queue(self, function: str, queue: str, batch_size: int) -> str:
        """Feed the function from a Redis list; the mapping's UUID."""
        answer = self.api.create_event_source_mapping(
            FunctionName=function,
            EventSourceArn=f"arn:aws:sqs:{self.variables['AWS_REGION']}:000000000000:{queue}",
            BatchSize=batch_size,
        )
        uuid = str(answer["UUID"])
        wait_until(lambda: self.api.get_event_source_mapping(UUID=uuid)["State"] == "Enabled", "the queue is polled")
        return uuid


def at_once(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Do that for all of them, several at a time: a durable write may wait for the disk."""
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="bench") as pool:
        return list(pool.map(work, items))


def package(code: str) -> bytes:
    """A deployment package with that one module."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", code)
    return buffer.getvalue()


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = _WAIT_LIMIT_S) -> None:
    """Look again and again, up to a limit."""
    until = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until:
            raise BenchFailure(f"waited {limit_s:.0f} s in vain until {what}")
        time.sleep(_LOOK_EVERY_S)


@contextmanager
def hearth(engine: docker.DockerClient, settings: Mapping[str, str]) -> Iterator[Hearth]:
    """A fresh Hearth while the `with` lasts; afterwards nothing of it is left, whatever happened to it."""
    folder = Path(tempfile.mkdtemp(prefix="hearth-bench-"))
    subject = Hearth(folder, engine, settings)
    try:
        subject.up()
        subject.settle()
        yield subject
    finally:
        with _uninterrupted():
            subject.command("down", "--purge")
            shutil.rmtree(folder, ignore_errors=True)


def heed_interrupts() -> None:
    """Make both ways of being stopped a KeyboardInterrupt, which clears up. Both are set, because a shell starts
    background jobs with SIGINT ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Clearing up is finished once it has begun; it has its own limit."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
