"""The named connections of this installation: which servers sources and destinations may use, and as whom.

Rule 1: a URL is a secret. It is stored sealed, and nothing here shows or logs it but `url`.
Rule 2: connections of the configuration are fixed; the others come and go while Hearth runs. The store is written
before memory, and whoever uses a connection is told after both.
Rule 3: a connection that something uses is not removed.
State: `_connections` is changed by `load`, `add` and `remove` only.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import structlog
from pydantic import BaseModel, ValidationError

from hearth.core.connection_url import BadConnectionUrl, masked, parse_connection_url
from hearth.core.errors import InvalidParameterValue, ResourceConflict, ResourceInUse, ResourceNotFound
from hearth.ports import ConnectionStore
from hearth.sealing import BrokenSeal, Sealer

MAX_CONNECTIONS = 1_000
MAX_URL_LENGTH = 4_096
RESERVED = "hearth"
"""The word that means Hearth's own Redis in ARNs."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Origin(Enum):
    """Who said that there is such a connection. The value is how it is shown."""

    CONFIGURATION = "configuration"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection. `created_s` is epoch seconds, 0 for those of the configuration."""

    name: str
    url: str = field(repr=False)
    origin: Origin = Origin.COMMAND
    created_s: int = 0

    @property
    def masked_url(self) -> str:
        return masked(self.url)


class _Record(BaseModel):
    """A connection as it is stored; `sealed` is hexadecimal."""

    sealed: str
    created_s: int


Changed = Callable[[str], Awaitable[None]]
"""Hears the name of a connection whose URL is another now, or gone."""
UsersOf = Callable[[str], Sequence[str]]
"""What uses the connection of that name, in words."""


class ConnectionBook(Collection[str]):
    """Every connection by name. As a collection it is the names."""

    def __init__(self, store: ConnectionStore, sealer: Sealer, fixed: Mapping[str, str]) -> None:
        """Raises InvalidParameterValue if a connection of the configuration is none."""
        self._store = store
        self._sealer = sealer
        for name, url in fixed.items():
            check_name(name)
            _check_url(url, f"The connection {name!r} of the configuration: ")
        self._connections = {name: Connection(name, url, Origin.CONFIGURATION) for name, url in fixed.items()}
        self._changing = asyncio.Lock()
        self._listeners: list[Changed] = []
        self.users_of: UsersOf = _nobody

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._connections))

    def __contains__(self, name: object) -> bool:
        return name in self._connections

    def on_change(self, listener: Changed) -> None:
        """Tell this one about every change, once it is stored."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Take in what the store has. What cannot be opened is reported, and is no connection."""
        for name, stored in (await self._store.load_all()).items():
            if name in self._connections:
                structlog.get_logger().warning("the configuration names this connection too, and wins", connection=name)
                continue
            try:
                self._connections[name] = self._opened(name, stored)
            except (ValidationError, ValueError, BrokenSeal) as error:
                structlog.get_logger().error("connection unreadable", connection=name, error=_reason(error))

    def url(self, name: str) -> str | None:
        """The URL of a connection, secrets included; None if there is no such connection."""
        found = self._connections.get(name)
        return None if found is None else found.url

    def find(self, name: str) -> Connection:
        """The connection of this name. Raises ResourceNotFound."""
        found = self._connections.get(name)
        if found is None:
            raise ResourceNotFound(f"There is no connection named {name!r}.")
        return found

    async def add(self, name: str, url: str, now_s: float) -> tuple[Connection, bool]:
        """Name this URL, durably; whoever uses a connection of that name connects anew. Gives whether it is new.
        Raises InvalidParameterValue, ResourceConflict."""
        check_name(name)
        _check_url(url)
        wanted = Connection(name, url, Origin.COMMAND, int(now_s))
        async with self._changing:
            before = self._connections.get(name)
            self._refuse_fixed(before)
            if before is None and len(self._connections) >= MAX_CONNECTIONS:
                raise ResourceConflict(f"There are {MAX_CONNECTIONS} connections already. Remove one first.")
            await self._store.put(name, self._sealed(wanted))
            self._connections[name] = wanted
            if before is None or before.url != url:
                await self._tell(name)
        return wanted, before is None

    async def remove(self, name: str) -> None:
        """Forget a connection that nothing uses. Raises ResourceNotFound, ResourceConflict, ResourceInUse."""
        async with self._changing:
            self._refuse_fixed(self.find(name))
            users = self.users_of(name)
            if users:
                more = f" and {len(users) - 3} more" if len(users) > 3 else ""  # noqa: PLR2004 - as many as are shown
                raise ResourceInUse(f"The connection {name!r} is used by {', '.join(users[:3])}{more}.")
            await self._store.delete(name)
            del self._connections[name]
            await self._tell(name)

    def _refuse_fixed(self, found: Connection | None) -> None:
        if found is not None and found.origin is Origin.CONFIGURATION:
            raise ResourceConflict(f"The connection {found.name!r} comes from the configuration: change it there.")

    async def _tell(self, name: str) -> None:
        for listener in self._listeners:
            await listener(name)

    def _sealed(self, connection: Connection) -> bytes:
        sealed = self._sealer.seal(connection.name, connection.url).hex()
        return _Record(sealed=sealed, created_s=connection.created_s).model_dump_json().encode()

    def _opened(self, name: str, stored: bytes) -> Connection:
        record = _Record.model_validate_json(stored)
        url = self._sealer.open(name, bytes.fromhex(record.sealed))
        return Connection(name, url, Origin.COMMAND, record.created_s)


def check_name(name: str) -> None:
    """Raises InvalidParameterValue for a name that no connection can have."""
    if name == RESERVED:
        raise InvalidParameterValue(f"{RESERVED!r} is Hearth's own Redis; choose another name.")
    if not _NAME.fullmatch(name):
        raise InvalidParameterValue(
            "The name of a connection has 1 to 64 letters, digits, '.', '_' and '-', and begins with a letter or digit."
        )


def _check_url(url: str, where: str = "") -> None:
    if len(url) > MAX_URL_LENGTH:
        raise InvalidParameterValue(f"{where}The URL of a connection has at most {MAX_URL_LENGTH} characters.")
    try:
        parse_connection_url(url)
    except BadConnectionUrl as error:
        raise InvalidParameterValue(f"{where}{error}") from None  # the cause's frames hold the URL


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, BrokenSeal) else type(error).__name__


def _nobody(name: str) -> Sequence[str]:
    """Until somebody knows who uses connections nobody does."""
    return ()
