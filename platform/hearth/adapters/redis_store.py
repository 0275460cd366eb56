"""Function records, event source mappings and access keys in Redis: one hash each, a field per record.

Rule 1: a write returns once the server has it on disk, where the server can tell (`WAITAOF`, Redis 7.2 and newer,
append-only file on). `durability` says what a returned write is worth.
Rule 2: every wait has a deadline, and every failure leaves here as ServiceError. A write that failed may or may not
have happened; the caller's repetition settles it.
"""

from collections.abc import Awaitable
from typing import Any, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hearth.core.errors import ServiceError

FUNCTIONS_KEY = "hearth:functions"
MAPPINGS_KEY = "hearth:mappings"
ACCESS_KEYS_KEY = "hearth:access-keys"
CAPACITY_PROVIDERS_KEY = "hearth:capacity-providers"
ROLES_KEY = "hearth:roles"
LAYERS_KEY = "hearth:layers"
TOPICS_KEY = "hearth:topics"
HOOKS_KEY = "hearth:hooks"
MOVE_TASKS_KEY = "hearth:sqs-move-tasks"
EVENT_BUSES_KEY = "hearth:event-buses"
CONNECTIONS_KEY = "hearth:connections"
WEBHOOKS_KEY = "hearth:webhooks"
REDRIVES_KEY = "hearth:redrives"

MAX_CONNECTIONS = 64
"""Writes at once; each holds its connection until the server's disk has it, up to a second."""

CALL_TIMEOUT_S = 5.0
FSYNC_TIMEOUT_MS = 3_000
"""Less than the call's own deadline, so that the server's answer is heard."""


def connect(url: str, *, retries: int = 5) -> "redis.asyncio.Redis":
    """A client for the stores: bounded waits, and a few retries that bridge a restart of the server."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=CALL_TIMEOUT_S,
        socket_timeout=CALL_TIMEOUT_S,
        socket_connect_timeout=CALL_TIMEOUT_S,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), retries=retries),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
    )
    return redis.asyncio.Redis.from_pool(pool)


class _RedisHash:
    """Records by key in one hash."""

    def __init__(self, client: "redis.asyncio.Redis", key: str) -> None:
        self._client = client
        self._key = key
        self._can_wait: bool | None = None

    @property
    def durability(self) -> str:
        """What a returned write is worth: "fsync" is on disk; "memory" is in the server's hands, which may or may
        not write it down; "unknown" before `load_all`."""
        return {None: "unknown", True: "fsync", False: "memory"}[self._can_wait]

    async def load_all(self) -> dict[str, bytes]:
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(self._key)
            pipe.execute_command("WAITAOF", 1, 0, FSYNC_TIMEOUT_MS)
            found, synced = await _asked(pipe.execute(raise_on_error=False))
        _raise_if_failed(found)
        self._judge(synced)
        return {key.decode(): value for key, value in found.items()}

    async def put(self, key: str, record: bytes, /, *, is_reproducible: bool = False) -> None:
        await self._write("HSET", self._key, key, record, wait=not is_reproducible)

    async def delete(self, key: str, /) -> None:
        await self._write("HDEL", self._key, key, wait=True)

    async def _write(self, *command: str | bytes, wait: bool) -> None:
        """Both commands on one connection: WAITAOF speaks of the writes of its own connection only."""
        if self._can_wait is False or not wait:
            await _asked(cast(Any, self._client).execute_command(*command))
            return
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.execute_command(*command)
            pipe.execute_command("WAITAOF", 1, 0, FSYNC_TIMEOUT_MS)
            written, synced = await _asked(pipe.execute(raise_on_error=False))
        _raise_if_failed(written)
        self._judge(synced)

    def _judge(self, synced: object) -> None:
        """A server that does not know WAITAOF, or has no append-only file, answers with an error: then memory is
        all there is. One that knows it but did not get to disk in time is in trouble."""
        self._can_wait = not isinstance(synced, ResponseError)
        if isinstance(synced, RedisError) and self._can_wait:
            raise ServiceError("The store did not answer.") from synced
        if isinstance(synced, list | tuple) and synced[0] < 1:
            raise ServiceError(f"The store did not reach its disk within {FSYNC_TIMEOUT_MS} ms.")


class RedisFunctionStore(_RedisHash):
    """The `FunctionStore` on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, FUNCTIONS_KEY)


class RedisMappingStore(_RedisHash):
    """The `MappingStore` on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, MAPPINGS_KEY)


class RedisLayerStore(_RedisHash):
    """The home of layers on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, LAYERS_KEY)


class RedisMoveTaskStore(_RedisHash):
    """The home of SQS message move tasks on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, MOVE_TASKS_KEY)


class RedisRoleStore(_RedisHash):
    """The home of roles and managed policies on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, ROLES_KEY)


class RedisBusStore(_RedisHash):
    """The home of event buses and their rules on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, EVENT_BUSES_KEY)


class RedisCapacityProviderStore(_RedisHash):
    """The home of capacity providers on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, CAPACITY_PROVIDERS_KEY)


class RedisTopicStore(_RedisHash):
    """The home of topics and their subscriptions on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, TOPICS_KEY)


class RedisHookStore(_RedisHash):
    """The home of hooks on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, HOOKS_KEY)


class RedisConnectionStore(_RedisHash):
    """The `ConnectionStore` on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, CONNECTIONS_KEY)


class RedisWebhookStore(_RedisHash):
    """The home of registered webhooks on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, WEBHOOKS_KEY)


class RedisRedriveStore(_RedisHash):
    """The home of redrives of dead letters on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, REDRIVES_KEY)


class RedisAccessKeyStore(_RedisHash):
    """The `AccessKeyStore` on Redis."""

    def __init__(self, client: "redis.asyncio.Redis") -> None:
        super().__init__(client, ACCESS_KEYS_KEY)


def _raise_if_failed(answer: object) -> None:
    if isinstance(answer, RedisError):
        raise ServiceError(f"The store refused: {answer}") from answer


async def _asked(call: object) -> Any:
    """The answer of a command; whatever goes wrong on the way is the platform's fault."""
    try:
        return await cast(Awaitable[Any], call)
    except (RedisError, OSError) as error:
        raise ServiceError(f"The store is not available: {error}") from error
