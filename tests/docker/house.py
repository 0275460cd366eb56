"""A Hearth of the tests' own: started by its command, used from outside, and gone without a trace afterwards.

Rule 1: everything is done as a user would: the command, the Lambda API, HTTP, Redis. What the engine and the kernel
say is read directly, so that nothing rests on Hearth's own view of itself.
"""

import base64
import http.client
import io
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import docker
import redis
from botocore.config import Config
from docker.errors import APIError
from tests.signing import signature

from hearth_cli import sweep
from hearth_cli.background import running_pid, wait_until
from hearth_cli.locations import DataDir

ROLE = "arn:aws:iam::000000000000:role/test"
PYTHON = "python3.13"
NODE = "nodejs22.x"
PATIENCE_S = 60.0
COMMAND_LIMIT_S = 200.0
_BASE = {"STEM_CELLS": '{"python3.13": 3, "nodejs22.x": 1}', "MEMORY_BUDGET_MIB": "16000"}


def eventually(condition: Callable[[], bool], what: str, limit_s: float = PATIENCE_S) -> None:
    """Wait until it is so; the test fails in words if it never is."""
    assert wait_until(condition, limit_s), f"waited {limit_s:g} s in vain until {what}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What Invoke gave."""

    value: Any
    error: str | None
    log: str
    request_id: str
    http: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """What plain HTTP gave. Header names are lower-case; `cookies` are the Set-Cookie headers."""

    status: int
    headers: Mapping[str, str]
    cookies: list[str]
    body: bytes


def package(files: Mapping[str, str | bytes]) -> bytes:
    """A deployment package."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def unique(stem: str) -> str:
    """A name that no other test has."""
    return f"{stem}-{secrets.token_hex(4)}"


class House:
    """One Hearth. `settings` are `HEARTH_*` variables without the prefix."""

    def __init__(self, folder: Path, engine: docker.DockerClient, settings: Mapping[str, str]) -> None:
        self.instance = f"test-{os.getpid()}-{secrets.token_hex(3)}"
        self.place = DataDir(folder / "data")
        self.engine = engine
        self.port, redis_port = _free_ports(2)
        self._folder = folder
        own = {"DATA_DIR": str(self.place.root), "INSTANCE": self.instance}
        ports = {"PORT": str(self.port), "REDIS_PORT": str(redis_port)}
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("HEARTH_")} | {
            f"HEARTH_{name}": value for name, value in {**_BASE, **own, **ports, **settings}.items()
        }
        self.variables: dict[str, str] = {}
        self.api: Any = None

    # Its life

    def command(self, *arguments: str, program: str = "hearth", stdin: bytes = b"") -> str:
        """Run a command of the venv, pointed at this Hearth; its standard output. Fails with its words."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / program), *arguments],
            env=self._environment | self.variables,
            cwd=self._folder,
            input=stdin,
            capture_output=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        said = done.stderr.decode()[-2000:]
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {said}\n{self.errors()}"
        return done.stdout.decode()

    def aws(self, *arguments: str) -> Any:
        """Run `aws lambda …`; its JSON, or None."""
        text = self.command("lambda", *arguments, "--output", "json", program="aws")
        return json.loads(text) if text.strip() else None

    def up(self) -> None:
        self.command("up")
        self.variables = json.loads(self.command("env", "--json"))
        self.api = self.client()

    def client(self, **config: Any) -> Any:
        """A boto3 client that never repeats anything by itself."""
        merged = {"retries": {"total_max_attempts": 1}, "proxies": {}, "read_timeout": 120, "max_pool_connections": 250}
        return boto3.client(
            "lambda",
            endpoint_url=self.variables["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
            region_name=self.variables["AWS_REGION"],
            config=Config(**{**merged, **config}),
        )

    def pid(self) -> int:
        pid = running_pid(self.place)
        assert pid, "no daemon runs"
        return pid

    def kill(self) -> None:
        """SIGKILL to the daemon; returns when it is dead."""
        pid = running_pid(self.place)
        if not pid:
            return
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
        eventually(lambda: running_pid(self.place) is None, "the daemon is dead", 10)

    def errors(self) -> str:
        """The last errors in the daemon's log."""
        log = self.place.log.read_text().splitlines() if self.place.log.exists() else []
        return "\n".join([line[:4_000] for line in log if '"level": "error"' in line][-1:])

    # What is there

    def health(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.http("GET", "/health").body)
        return value

    def containers(self, role: str = "environment") -> list[Any]:
        """All containers of this instance with that role, whatever their state."""
        labels = [f"hearth.instance={self.instance}", f"hearth.role={role}"]
        found: list[Any] = self.engine.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        return found

    def gateway(self) -> str:
        """The host's address as functions see it."""
        networks = self.engine.networks.list(names=[f"hearth-{self.instance}"])
        return str(networks[0].attrs["IPAM"]["Config"][0]["Gateway"])

    def leftovers(self) -> list[str]:
        """Whatever of it can still be found on this machine."""
        run = self.place.run.iterdir() if self.place.run.exists() else iter(())
        filters: dict[str, Any] = {"label": f"hearth.instance={self.instance}"}
        return [
            *(f"container {each.name}" for each in self.engine.containers.list(all=True, filters=filters)),
            *(
                f"network {each.name}"
                for each in self.engine.networks.list(filters=filters)
                if _is_ours_to_remove(each)
            ),
            *(f"mount {each}" for each in sweep.mounts_below(self.place.root)),
            *(f"process {each}" for each in _processes_of(self.place.root)),
            *(f"file {each}" for each in run if each.name not in ("lock", "turn")),
        ]

    def stored_packages(self) -> set[str]:
        """What lies below the code directory."""
        return {str(path.relative_to(self.place.root)) for path in (self.place.root / "code").rglob("*")}

    # Using it

    def http(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        is_signed: bool = False,
    ) -> Page:
        """One request, exactly as given; signed with this Hearth's own key if wanted."""
        if is_signed:
            address = f"http://127.0.0.1:{self.port}{path}"
            headers = {**(headers or {}), **signature(self.variables, method, address, body or b"")}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            pairs = response.getheaders()
            cookies = [value for name, value in pairs if name.lower() == "set-cookie"]
            return Page(response.status, {name.lower(): value for name, value in pairs}, cookies, response.read())
        finally:
            connection.close()

    def redis(self) -> "redis.Redis":
        return redis.Redis.from_url(self.variables["HEARTH_REDIS_URL"], decode_responses=True, socket_timeout=30)

    def log(self, function: str, max_bytes: int = 16 * 2**20) -> str:
        """The function's newest output."""
        page = self.http("GET", f"/_hearth/logs/{quote(function)}?bytes={max_bytes}&follow=0", is_signed=True)
        assert page.status == 200, page.body
        return "".join(json.loads(line)[2] for line in page.body.splitlines() if line.strip())

    def create(
        self,
        stem: str,
        code: str | Mapping[str, str | bytes],
        *,
        runtime: str = PYTHON,
        handler: str = "app.handler",
        memory_mb: int = 128,
        timeout_s: int = 20,
        variables: Mapping[str, str] | None = None,
        ready: bool = True,
        **more: Any,
    ) -> str:
        """Create a function from one module, or from several files, and wait until it is active; its name."""
        name = unique(stem)
        files = {"app.js" if runtime == NODE else "app.py": code} if isinstance(code, str) else code
        self.api.create_function(
            FunctionName=name,
            Runtime=runtime,
            Role=ROLE,
            Handler=handler,
            Code={"ZipFile": package(files)},
            MemorySize=memory_mb,
            Timeout=timeout_s,
            Environment={"Variables": dict(variables or {})},
            **more,
        )
        if ready:
            self.settled(name)
        return name

    def settled(self, name: str) -> dict[str, Any]:
        """Wait until creation or update is over; the configuration."""
        found: dict[str, Any] = {}

        def is_settled() -> bool:
            found.update(self.api.get_function_configuration(FunctionName=name))
            return found["State"] == "Active" and found.get("LastUpdateStatus") == "Successful"

        eventually(is_settled, f"{name} is ready")
        return found

    def replace_code(self, name: str, code: str) -> None:
        self.api.update_function_code(FunctionName=name, ZipFile=package({"app.py": code}))
        self.settled(name)

    def invoke(self, name: str, event: Any = None, **more: Any) -> Answer:
        answer = self.api.invoke(FunctionName=name, Payload=json.dumps(event).encode(), LogType="Tail", **more)
        body = answer["Payload"].read()
        metadata = answer["ResponseMetadata"]
        return Answer(
            json.loads(body) if body else None,
            answer.get("FunctionError"),
            base64.b64decode(answer.get("LogResult", "")).decode(errors="replace"),
            metadata["RequestId"],
            metadata["HTTPHeaders"],
        )

    def url(self, name: str) -> str:
        """Give the function a URL; its path on this Hearth's port."""
        self.api.create_function_url_config(FunctionName=name, AuthType="NONE")
        return f"/fn/{name}"

    def map_queue(self, function: str, arn: str, **more: Any) -> str:
        """Feed the function from a list and wait until that is so; the mapping's UUID."""
        identity = str(self.api.create_event_source_mapping(FunctionName=function, EventSourceArn=arn, **more)["UUID"])
        self.mapping_is(identity, "Enabled")
        return identity

    def mapping_is(self, identity: str, state: str) -> None:
        get = self.api.get_event_source_mapping
        eventually(lambda: bool(get(UUID=identity)["State"] == state), f"the mapping is {state}")

    def queue_arn(self, queue: str) -> str:
        return f"arn:aws:sqs:{self.variables['AWS_REGION']}:000000000000:{queue}"


@contextmanager
def house(engine: docker.DockerClient, settings: Mapping[str, str] | None = None) -> Iterator[House]:
    """A running Hearth while the `with` lasts. Afterwards nothing of it is left, and that is part of the test."""
    # The name is what `hearth_cli.sweep` clears up after should this process be killed.
    folder = Path(tempfile.mkdtemp(prefix=f"hearth-test-{os.getpid()}."))
    subject = House(folder, engine, settings or {})
    try:
        subject.up()
        yield subject
    finally:
        try:
            subject.command("down")
            left = subject.leftovers()
            assert not left, left
        finally:
            subject.command("down", "--purge")
            shutil.rmtree(folder, ignore_errors=True)


def _is_ours_to_remove(network: Any) -> bool:
    """Whether it was left behind: one that the engine itself will not let go, because it miscounts, was not."""
    try:
        network.remove()
    except APIError as error:
        return "has active endpoints" not in str(error.explanation) or bool(network.attrs.get("Containers"))
    return True


def _processes_of(root: Path) -> Iterator[int]:
    """Processes with that data directory in their environment."""
    wanted = f"HEARTH_DATA_DIR={root}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)
        except OSError:
            continue  # gone meanwhile


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
