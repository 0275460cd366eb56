"""Bringing a package to life: create or update the function, wait until it is ready, give it a URL and queues.

Every step looks first and acts on a difference only, so that deploying the same again changes nothing.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hearth.config import Settings
from hearth_cli.console import Failure, Progress, quiet
from hearth_cli.folder import Guess

READY_LIMIT_S = 120.0
_LOOK_EVERY_S = 0.05
_DEFAULT_MEMORY_MIB = 128
_DEFAULT_TIMEOUT_S = 30
_BATCH_SIZE = 10


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for. None: as it is, or the default for a new function."""

    name: str
    package: bytes
    guess: Callable[[], Guess]
    runtime: str | None = None
    handler: str | None = None
    memory_mib: int | None = None
    timeout_s: int | None = None
    environment: Mapping[str, str] | None = None
    has_url: bool = False
    queues: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deployed:
    """What there is now."""

    name: str
    arn: str
    what_happened: str
    url: str | None = None
    queues: Mapping[str, str] = field(default_factory=dict)


class Deployer:
    """Deploys through a Lambda client; holds no state of its own."""

    def __init__(self, client: Any, settings: Settings, progress: Progress = quiet) -> None:
        self._client = client
        self._settings = settings
        self._progress = progress

    def deploy(self, wish: Wish) -> Deployed:
        """Make it so, and return when the function is ready for its first event."""
        existing = self._configuration(wish.name)
        if existing is None:
            self._progress(f"creating {wish.name}")
            arn, happened = self._create(wish), "created"
        else:
            arn, happened = existing["FunctionArn"], self._update(wish, existing)
        self.wait_until_ready(wish.name)
        url = self._ensure_url(wish.name) if wish.has_url else None
        queues = {queue: self._ensure_mapping(wish.name, self._queue_arn(queue)) for queue in wish.queues}
        return Deployed(wish.name, arn, happened, url, queues)

    def wait_until_ready(self, name: str) -> None:
        """Until the function is Active and its last update is done."""

        def is_ready() -> bool:
            now = self._client.get_function_configuration(FunctionName=name)
            failed = "Failed" in (now.get("State"), now.get("LastUpdateStatus"))
            if failed:
                raise Failure(f"{name} failed: {now.get('LastUpdateStatusReason') or now.get('StateReason')}")
            return bool(now.get("State") == "Active" and now.get("LastUpdateStatus") != "InProgress")

        self._progress(f"waiting until {name} is ready")
        self._wait(is_ready, f"{name} was not ready within {READY_LIMIT_S:.0f} s")

    def _wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        until = time.monotonic() + READY_LIMIT_S
        while not condition():
            if time.monotonic() > until:
                raise Failure(otherwise)
            time.sleep(_LOOK_EVERY_S)

    def _configuration(self, name: str) -> dict[str, Any] | None:
        with suppress(self._client.exceptions.ResourceNotFoundException):
            found: dict[str, Any] = self._client.get_function_configuration(FunctionName=name)
            return found
        return None

    def _create(self, wish: Wish) -> str:
        guess = None if wish.runtime and wish.handler else wish.guess()
        answer = self._client.create_function(
            FunctionName=wish.name,
            Role=f"arn:aws:iam::{self._settings.account}:role/hearth",
            Runtime=wish.runtime or (guess.runtime if guess else None),
            Handler=wish.handler or (guess.handler if guess else None),
            MemorySize=wish.memory_mib or _DEFAULT_MEMORY_MIB,
            Timeout=wish.timeout_s or _DEFAULT_TIMEOUT_S,
            Environment={"Variables": dict(wish.environment or {})},
            Code={"ZipFile": wish.package},
        )
        return str(answer["FunctionArn"])

    def _update(self, wish: Wish, existing: Mapping[str, Any]) -> str:
        """Configuration first: new code may rely on it."""
        # One that is still Pending, or in an update, refuses another: let it finish.
        self.wait_until_ready(wish.name)
        changes = _changes(wish, existing)
        if changes:
            self._progress(f"updating the configuration of {wish.name}")
            self._client.update_function_configuration(FunctionName=wish.name, **changes)
            self.wait_until_ready(wish.name)
        digest = base64.b64encode(hashlib.sha256(wish.package).digest()).decode()
        if existing.get("CodeSha256") != digest:
            self._progress(f"updating the code of {wish.name}")
            self._client.update_function_code(FunctionName=wish.name, ZipFile=wish.package)
            return "updated"
        return "updated" if changes else "unchanged"

    def _ensure_url(self, name: str) -> str:
        self._progress(f"giving {name} a URL")
        try:
            answer = self._client.create_function_url_config(FunctionName=name, AuthType="NONE")
        except self._client.exceptions.ResourceConflictException:
            answer = self._client.get_function_url_config(FunctionName=name)
        return str(answer["FunctionUrl"])

    def _queue_arn(self, queue: str) -> str:
        if queue.startswith("arn:"):
            return queue
        return f"arn:aws:sqs:{self._settings.region}:{self._settings.account}:{queue}"

    def _ensure_mapping(self, name: str, arn: str) -> str:
        """The UUID of the mapping, once messages flow."""
        self._progress(f"connecting {name} to its queue")
        found = self._client.list_event_source_mappings(FunctionName=name, EventSourceArn=arn)
        living = [each for each in found["EventSourceMappings"] if each["State"] != "Deleting"]
        if living:
            uuid = str(living[0]["UUID"])
        else:
            made = self._client.create_event_source_mapping(
                FunctionName=name, EventSourceArn=arn, BatchSize=_BATCH_SIZE
            )
            uuid = str(made["UUID"])
        self._wait(lambda: self._is_settled(uuid), f"the mapping {uuid} was not ready in time")
        return uuid

    def _is_settled(self, uuid: str) -> bool:
        # Disabled counts: somebody wanted it so, and deploying again does not overrule that.
        return str(self._client.get_event_source_mapping(UUID=uuid)["State"]) in ("Enabled", "Disabled")


def _changes(wish: Wish, existing: Mapping[str, Any]) -> dict[str, Any]:
    """The members of UpdateFunctionConfiguration that differ from what is."""
    asked: dict[str, Any] = {
        "Runtime": wish.runtime,
        "Handler": wish.handler,
        "MemorySize": wish.memory_mib,
        "Timeout": wish.timeout_s,
    }
    changes = {name: value for name, value in asked.items() if value is not None and existing.get(name) != value}
    if wish.environment is not None:
        wanted = dict(wish.environment)
        if existing.get("Environment", {}).get("Variables", {}) != wanted:
            changes["Environment"] = {"Variables": wanted}
    return changes


def remove(client: Any, name: str) -> None:
    """Delete a function and the mappings that feed it; its URL goes with it."""
    # First the function: a name that does not exist is an error before anything has been touched.
    client.get_function_configuration(FunctionName=name)
    for mapping in client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]:
        with suppress(client.exceptions.ResourceNotFoundException, client.exceptions.ResourceInUseException):
            client.delete_event_source_mapping(UUID=mapping["UUID"])
    client.delete_function(FunctionName=name)
