"""What a Redis server keeps when it dies, judged by what it says of itself.

Rule: never more is promised than the server's own settings make true. What a server does not tell counts as its
worst.
Source: "Redis persistence" and the comments of redis.conf (`appendonly`, `appendfsync`, `save`, `maxmemory-policy`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

FIRST_WITH_WAITAOF = (7, 2)
NO_EVICTION = "noeviction"


class Durability(Enum):
    """What survives the server's sudden end. The value is how it is shown."""

    EVERY_WRITE = "every write that was answered"
    AWAITED = "every write that Hearth answers for (WAITAOF); of others at most the last second is lost with the host"
    LAST_SECOND = "all but the last second, if the host dies; everything, if only the server does"
    LAST_HALF_MINUTE = "all but about the last 30 seconds, if the host dies; everything, if only the server does"
    SNAPSHOTS = "what the last snapshot has; everything since then is lost"
    NOTHING = "nothing: a restart of the server loses every message"
    UNKNOWN = "unknown: the server does not say (CONFIG GET and INFO may not be allowed)"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself. None is what it did not say. `save` is the setting's own text."""

    version: str = ""
    role: str = ""
    appendonly: bool | None = None
    appendfsync: str | None = None
    save: str | None = None
    maxmemory: int | None = None
    maxmemory_policy: str | None = None
    replicas: int = 0


def durability_of(facts: ServerFacts) -> Durability:
    """What survives a sudden end of this server."""
    if facts.appendonly is None:
        return Durability.UNKNOWN
    if not facts.appendonly:
        return Durability.SNAPSHOTS if facts.save else Durability.NOTHING
    match facts.appendfsync:
        case "always":
            return Durability.EVERY_WRITE
        case "everysec":
            can_wait = release_of(facts.version) >= FIRST_WITH_WAITAOF
            return Durability.AWAITED if can_wait else Durability.LAST_SECOND
        case "no":
            return Durability.LAST_HALF_MINUTE
        case _:
            return Durability.UNKNOWN


def warnings_of(facts: ServerFacts) -> tuple[str, ...]:
    """What the operator should know before trusting messages to this server."""
    found: list[str] = []
    if facts.role and facts.role != "master":
        found.append(f"this server is a {facts.role}: it takes no writes, so lists and streams cannot be read from it")
    if release_of(facts.version) < (6, 2):
        found.append("lists need Redis 6.2 or newer")
    if facts.maxmemory and facts.maxmemory_policy != NO_EVICTION:
        found.append(f"maxmemory-policy is {facts.maxmemory_policy}: when memory is full, messages are thrown away")
    if facts.replicas:
        found.append("replication is asynchronous: a failover loses what the new master had not received yet")
    return tuple(found)


def release_of(version: str) -> tuple[int, int]:
    """Major and minor number; (0, 0) if the text has none."""
    numbers = version.split(".")[:2]
    if len(numbers) == 2 and all(number.isascii() and number.isdigit() for number in numbers):  # noqa: PLR2004
        return int(numbers[0]), int(numbers[1])
    return 0, 0


def facts_of(info: Mapping[str, str], settings: Mapping[str, str]) -> ServerFacts:
    """The facts in the answers of INFO (all sections) and CONFIG GET. INFO knows of the append-only file too, which
    helps where CONFIG is not allowed."""
    enabled = info.get("aof_enabled")
    appendonly = settings.get("appendonly") or {"1": "yes", "0": "no"}.get(enabled or "")
    memory = settings.get("maxmemory") or info.get("maxmemory")
    return ServerFacts(
        version=info.get("redis_version", ""),
        role={"slave": "replica"}.get(info.get("role", ""), info.get("role", "")),
        appendonly=None if appendonly is None else appendonly == "yes",
        appendfsync=settings.get("appendfsync"),
        save=settings.get("save"),
        maxmemory=int(memory) if memory and memory.isdigit() else None,
        maxmemory_policy=settings.get("maxmemory-policy") or info.get("maxmemory_policy"),
        replicas=int(info.get("connected_slaves", "0")),
    )
