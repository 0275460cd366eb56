"""Where the floors meet: what the gateway asks of the scheduler, and what both ask of the outside world."""

from asyncio import Future
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from hearth.core.function import FunctionName, FunctionVersion
from hearth.core.invocation import Invocation, Outcome
from hearth.core.provisioning import ProvisionedState
from hearth.core.records import ContainerImage, Reason


class Slot(Protocol):
    """A place under the caps, held until used or released. Using it twice, or after release, raises RuntimeError."""

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run the invocation in this place and give the place back. Never `Throttled`."""
        ...

    def release(self) -> None:
        """Give the place back unused. Releasing a used slot does nothing."""
        ...


class Scheduler(Protocol):
    """What the gateway needs of the scheduler. One event loop; every method is called on it."""

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Run one invocation, or say `Throttled` at once when a cap is reached. A cancelled caller does not stop
        the handler: the environment finishes what it does."""
        ...

    def submit(self, invocation: Invocation) -> Future[Outcome]:
        """`invoke` without a coroutine, for the path that is hottest. Cancelling the future is the caller's going."""
        ...

    async def reserve(self, function: FunctionVersion) -> Slot:
        """Wait, without any deadline of its own, until the function has a free place under its caps, and take it.
        First come, first served. Cancelling the wait gives the place up."""
        ...

    def configure(self, function: FunctionVersion) -> None:
        """Make this revision the current one of its version; environments of older revisions retire."""
        ...

    def withdraw(self, name: FunctionName, version: str) -> None:
        """A published version is gone, its function stays: as `forget`, for this version alone."""
        ...

    def forget(self, name: FunctionName) -> None:
        """The function is gone: its idle environments stop, its busy ones finish and then stop."""
        ...

    def limit(self, name: FunctionName, reserved: int | None) -> None:
        """Set the function's reserved concurrency: a guarantee and an exact cap; None means unreserved."""
        ...

    def provision(self, name: FunctionName, version: str, count: int, most: int | None = None) -> None:
        """Keep that many environments of the version initialised, before anybody asks, and guarantee it as many places.
        0 ends it. `most` is an exact cap of the version's environments, None for none but the function's. Both are
        remembered for a version that is not known yet."""
        ...

    def provisioned(self, name: FunctionName, version: str) -> ProvisionedState:
        """How far that has come."""
        ...


class LogSink(Protocol):
    """Takes function output in memory and writes it behind. Never blocks, never raises for a full disk."""

    def append(self, group: str, stream: str, text: bytes, at_ms: int) -> None:
        """Add a piece of a stream's output (whole lines or parts of lines, in order) to a log group. A carriage return
        is a line break inside one record. `at_ms`: epoch milliseconds."""
        ...


class CodeTrees(Protocol):
    """Where the unpacked code of a package lies."""

    def tree(self, code_sha256: str) -> str:
        """The absolute path of the read-only tree; FileNotFoundError if it was never unpacked."""
        ...

    def opt(self, layers: Sequence[str]) -> str | None:
        """The absolute path of the tree that these layers (SHA-256 of their packages, in order) give at /opt; None
        without layers. FileNotFoundError if it was never made."""
        ...


class FunctionStore(Protocol):
    """The durable home of function records, by name. A write returns once it is on disk (as far as the server can)."""

    async def load_all(self) -> dict[str, bytes]:
        """Every record, by function name."""
        ...

    async def put(self, name: str, record: bytes, /, *, is_reproducible: bool = False) -> None:
        """Keep the record. One that is reproducible, whose loss the next start makes good, need not wait for the
        disk, which Redis reaches once a second."""
        ...

    async def delete(self, name: str, /) -> None: ...


class MappingStore(Protocol):
    """The durable home of event source mappings, by UUID. Same promises as `FunctionStore`."""

    async def load_all(self) -> dict[str, bytes]: ...

    async def put(self, uuid: str, record: bytes, /) -> None: ...

    async def delete(self, uuid: str, /) -> None: ...


class AccessKeyStore(Protocol):
    """The durable home of access keys, by id. Same promises as `FunctionStore`."""

    async def load_all(self) -> dict[str, bytes]: ...

    async def put(self, access_key_id: str, record: bytes, /) -> None: ...

    async def delete(self, access_key_id: str, /) -> None: ...


class ConnectionStore(Protocol):
    """The durable home of named connections, sealed, by name. Same promises as `FunctionStore`."""

    async def load_all(self) -> dict[str, bytes]: ...

    async def put(self, name: str, record: bytes, /) -> None: ...

    async def delete(self, name: str, /) -> None: ...


class LogReader(Protocol):
    """Reads back what a `LogSink` took."""

    async def tail(self, group: str, max_bytes: int) -> list[tuple[int, str, str]]:
        """The newest entries (epoch milliseconds, stream, text), oldest first, at most `max_bytes` of text."""
        ...

    def follow(self, group: str, max_bytes: int = 0) -> AsyncGenerator[tuple[int, str, str], None]:
        """The newest entries, then new ones as they come, without gap or repetition, until closed or cancelled."""
        ...


class ImageUnusable(Exception):
    """An image cannot be a function's code; `reason` is what its callers are told."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.text)
        self.reason = reason


class ContainerImages(Protocol):
    """The container images that functions can be made from. They belong to the operator."""

    async def find(self, uri: str) -> ContainerImage:
        """What the name means now; unresolved (`resolved` is empty) if that takes longer to find out than a caller can
        wait. Raises ImageUnusable for a name that cannot be one."""
        ...

    async def ensure(self, image: ContainerImage) -> ContainerImage:
        """Have exactly this image on the host; one that is unresolved is resolved. May take as long as a pull takes.
        Raises ImageUnusable."""
        ...
