"""What every store of records promises, kept by the double and by Redis alike."""

from collections.abc import AsyncIterator, Callable

import pytest
import redis.asyncio

from hearth.adapters.redis_store import (
    ACCESS_KEYS_KEY,
    FUNCTIONS_KEY,
    LAYERS_KEY,
    MAPPINGS_KEY,
    ROLES_KEY,
    RedisAccessKeyStore,
    RedisFunctionStore,
    RedisLayerStore,
    RedisMappingStore,
    RedisRoleStore,
    connect,
)
from hearth.core.errors import ServiceError
from hearth.ports import FunctionStore, MappingStore
from hearth.testing import InMemoryStore

Store = FunctionStore | MappingStore


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator["redis.asyncio.Redis"]:
    client = connect(redis_url)
    await client.delete(ACCESS_KEYS_KEY, FUNCTIONS_KEY, LAYERS_KEY, MAPPINGS_KEY, ROLES_KEY)
    yield client
    await client.aclose()


@pytest.fixture(
    params=[
        "in memory",
        pytest.param(RedisFunctionStore, marks=pytest.mark.redis),
        pytest.param(RedisMappingStore, marks=pytest.mark.redis),
        pytest.param(RedisRoleStore, marks=pytest.mark.redis),
        pytest.param(RedisLayerStore, marks=pytest.mark.redis),
        pytest.param(RedisAccessKeyStore, marks=pytest.mark.redis),
    ]
)
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "in memory":
        return InMemoryStore()
    make: Callable[[redis.asyncio.Redis], Store] = request.param
    return make(request.getfixturevalue("client"))


async def test_a_new_store_is_empty(store: Store) -> None:
    assert await store.load_all() == {}


async def test_what_was_put_is_loaded_byte_for_byte(store: Store) -> None:
    every_byte = bytes(range(256))
    await store.put("one", every_byte)
    await store.put("two", b"")
    assert await store.load_all() == {"one": every_byte, "two": b""}


async def test_the_last_write_of_a_key_wins(store: Store) -> None:
    await store.put("one", b"old")
    await store.put("one", b"new")
    assert await store.load_all() == {"one": b"new"}


async def test_a_deleted_record_is_gone_and_deleting_it_again_is_fine(store: Store) -> None:
    await store.put("one", b"x")
    await store.put("two", b"y")
    await store.delete("one")
    await store.delete("one")
    assert await store.load_all() == {"two": b"y"}


async def test_the_double_fails_a_write_without_any_effect() -> None:
    store = InMemoryStore()
    store.fail_next = True
    with pytest.raises(ServiceError):
        await store.put("one", b"x")
    assert await store.load_all() == {}


async def test_a_write_that_need_not_wait_is_there_all_the_same() -> None:
    store = InMemoryStore()
    await store.put("one", b"x", is_reproducible=True)
    assert await store.load_all() == {"one": b"x"}


@pytest.mark.redis
async def test_a_write_that_need_not_wait_is_there_in_redis_too(client: "redis.asyncio.Redis") -> None:
    store = RedisFunctionStore(client)
    await store.put("one", b"x", is_reproducible=True)
    assert await store.load_all() == {"one": b"x"}


@pytest.mark.redis
async def test_functions_and_mappings_do_not_mix(client: "redis.asyncio.Redis") -> None:
    await RedisFunctionStore(client).put("same", b"function")
    await RedisMappingStore(client).put("same", b"mapping")
    assert await RedisFunctionStore(client).load_all() == {"same": b"function"}


@pytest.mark.redis
async def test_another_client_finds_what_was_written(client: "redis.asyncio.Redis", redis_url: str) -> None:
    await RedisFunctionStore(client).put("one", b"x")
    other = connect(redis_url)
    assert await RedisFunctionStore(other).load_all() == {"one": b"x"}
    await other.aclose()


@pytest.mark.redis
async def test_a_write_is_on_disk_where_the_server_can_tell(client: "redis.asyncio.Redis") -> None:
    store = RedisFunctionStore(client)
    assert store.durability == "unknown"
    await store.load_all()
    assert store.durability == "fsync"
    await store.put("one", b"x")
    assert store.durability == "fsync"


@pytest.mark.redis
async def test_without_an_append_only_file_a_write_is_in_memory_only(client: "redis.asyncio.Redis") -> None:
    await client.config_set("appendonly", "no")
    try:
        store = RedisFunctionStore(client)
        await store.put("one", b"x")
        await store.put("two", b"y")
        assert store.durability == "memory"
        assert await store.load_all() == {"one": b"x", "two": b"y"}
    finally:
        await client.config_set("appendonly", "yes")


@pytest.mark.redis
async def test_a_refused_write_is_the_platforms_fault(client: "redis.asyncio.Redis") -> None:
    await client.set(FUNCTIONS_KEY, "not a hash")
    with pytest.raises(ServiceError):
        await RedisFunctionStore(client).put("one", b"x")
    with pytest.raises(ServiceError):
        await RedisFunctionStore(client).load_all()


async def test_a_lost_server_is_the_platforms_fault(unused_tcp_port: int) -> None:
    client = connect(f"redis://127.0.0.1:{unused_tcp_port}", retries=0)
    with pytest.raises(ServiceError):
        await RedisFunctionStore(client).load_all()
    with pytest.raises(ServiceError):
        await RedisFunctionStore(client).put("one", b"x")
    await client.aclose()
