"""The log groups there are, and what is known of each beside its entries: a small file in its directory.

Rule 1: a group exists as long as its directory does; output makes it, and so does whoever asks for it.
Rule 2: the group of a function that names none is kept under the function's name, others under a digest of theirs:
names of groups have slashes, and are longer than names of files may be.
State: `_groups` is changed by `load`, `put` and `remove` only, by whoever may write to the logs. All of it blocks.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from pydantic import BaseModel, ValidationError

SCHEMA = 1
_FILE = "group.json"
_OF_FUNCTION = re.compile(r"/aws/lambda/(?P<name>[a-zA-Z0-9-_]{1,64})", re.ASCII)
_DIGEST_PREFIX = "@"


@dataclass(frozen=True, slots=True)
class LogGroup:
    """A log group. `streams` are those that were made without any output yet, and when; times are epoch milliseconds.
    No `retention_days`: entries are kept as long as there is room."""

    name: str
    created_ms: int
    retention_days: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    streams: Mapping[str, int] = field(default_factory=dict)


class _Document(BaseModel):
    schema_version: int
    group: LogGroup


class LogGroups:
    """Every log group, by name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._groups: dict[str, LogGroup] = {}

    def load(self) -> None:
        """Take in what is on disk."""
        for path in self._directory.iterdir():
            if path.is_dir():
                group = self._read(path)
                if group is not None:
                    self._groups[group.name] = group

    def find(self, name: str) -> LogGroup | None:
        return self._groups.get(name)

    def all(self) -> list[LogGroup]:
        """Every group in order of name."""
        return [self._groups[name] for name in sorted(self._groups)]

    def place(self, name: str) -> Path:
        """The directory of a group."""
        of_function = _OF_FUNCTION.fullmatch(name)
        digest = hashlib.sha256(name.encode()).hexdigest()[:40]
        return self._directory / (of_function["name"] if of_function else f"{_DIGEST_PREFIX}{digest}")

    def put(self, group: LogGroup) -> None:
        """Make this the group of its name, on disk and then in memory. Raises OSError."""
        place = self.place(group.name)
        place.mkdir(parents=True, exist_ok=True)
        fresh = place / f"{_FILE}.new"
        with fresh.open("wb") as file:
            file.write(_Document(schema_version=SCHEMA, group=group).model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(place / _FILE)
        self._groups[group.name] = group

    def remove(self, name: str) -> None:
        """Forget the group, whose directory is gone."""
        self._groups.pop(name, None)

    def _read(self, path: Path) -> LogGroup | None:
        try:
            return _Document.model_validate_json((path / _FILE).read_bytes()).group
        except FileNotFoundError:
            # From a time before groups had files, when there were only those of functions.
            is_function = not path.name.startswith(_DIGEST_PREFIX)
            return LogGroup(f"/aws/lambda/{path.name}", int(path.stat().st_mtime * 1000)) if is_function else None
        except (OSError, ValidationError) as error:
            structlog.get_logger().error("log group unreadable", directory=path.name, error=str(error))
            return None
