"""The book of connections: kept sealed, told about, and not removed while in use."""

import pytest
from structlog.testing import capture_logs

from hearth.connections import Connection, ConnectionBook, Origin
from hearth.core.errors import (
    InvalidParameterValue,
    ResourceConflict,
    ResourceInUse,
    ResourceNotFound,
    ServiceError,
)
from hearth.sealing import BrokenSeal, Sealer
from hearth.testing import InMemoryStore

URL = "redis://u:s3cret@h:1"
OTHER = "redis://u:s3cret@h:2"


def book(store: InMemoryStore | None = None, *, key: int = 1, fixed: dict[str, str] | None = None) -> ConnectionBook:
    return ConnectionBook(store or InMemoryStore(), Sealer(bytes([key]) * 32), fixed or {})


async def test_a_connection_is_there_after_a_restart_and_no_store_shows_its_secret() -> None:
    store = InMemoryStore()
    await book(store).add("a", URL, 7.9)
    again = book(store)
    await again.load()
    assert (again.url("a"), list(again), "a" in again, len(again)) == (URL, ["a"], True, 1)
    assert again.find("a") == Connection("a", URL, Origin.COMMAND, 7)
    assert b"s3cret" not in b"".join(store.records.values())
    assert "s3cret" not in repr(again.find("a"))


async def test_another_url_is_told_and_the_same_is_not() -> None:
    own = book()
    told: list[tuple[str, str | None]] = []

    async def hear(name: str) -> None:
        told.append((name, own.url(name)))

    own.on_change(hear)
    assert (await own.add("a", URL, 0))[1]
    assert not (await own.add("a", OTHER, 0))[1]
    await own.add("a", OTHER, 0)
    await own.remove("a")
    assert told == [("a", URL), ("a", OTHER), ("a", None)]


async def test_nothing_changes_if_the_store_is_away() -> None:
    store = InMemoryStore()
    own = book(store)
    store.fail_next = True
    with pytest.raises(ServiceError):
        await own.add("a", URL, 0)
    assert "a" not in own
    await own.add("a", URL, 0)
    store.fail_next = True
    with pytest.raises(ServiceError):
        await own.remove("a")
    assert own.url("a") == URL


async def test_what_is_in_use_stays() -> None:
    own = book()
    await own.add("a", URL, 0)
    own.users_of = lambda name: [f"user {n} of {name}" for n in range(5)]
    with pytest.raises(ResourceInUse, match="user 0 of a, user 1 of a, user 2 of a and 2 more"):
        await own.remove("a")
    own.users_of = lambda name: []
    await own.remove("a")
    assert own.url("a") is None
    with pytest.raises(ResourceNotFound):
        await own.remove("a")


async def test_connections_of_the_configuration_are_fixed() -> None:
    store = InMemoryStore()
    await book(store).add("a", OTHER, 0)
    own = book(store, fixed={"a": URL})
    with capture_logs() as logs:
        await own.load()
    assert own.url("a") == URL and own.find("a").origin is Origin.CONFIGURATION
    assert [one["connection"] for one in logs] == ["a"]
    with pytest.raises(ResourceConflict, match="configuration"):
        await own.add("a", OTHER, 0)
    with pytest.raises(ResourceConflict, match="configuration"):
        await own.remove("a")


@pytest.mark.parametrize("name", ["", "hearth", "a/b", "a:b", "-a", "a b", "x" * 65, "ä"])
async def test_names_that_no_arn_can_have_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameterValue):
        await book().add(name, URL, 0)
    with pytest.raises(InvalidParameterValue):
        book(fixed={name: URL})


async def test_a_url_that_is_none_is_refused_without_being_shown() -> None:
    for wrong in ("redis://u:s3cret@h:x", "s3cret://", "redis://" + "s3cret" * 1_000):
        with pytest.raises(InvalidParameterValue) as refused:
            await book().add("a", wrong, 0)
        assert "s3cret" not in refused.value.message
        assert refused.value.__suppress_context__ or refused.value.__context__ is None
    with pytest.raises(InvalidParameterValue, match="'a' of the configuration"):
        book(fixed={"a": "nonsense"})


async def test_what_another_key_sealed_is_reported_and_is_no_connection() -> None:
    store = InMemoryStore()
    await book(store, key=1).add("a", URL, 0)
    store.records["b"] = b"not even JSON"
    other = book(store, key=2)
    with capture_logs() as logs:
        await other.load()
    assert list(other) == []
    assert {(one["connection"], one["event"]) for one in logs} == {
        ("a", "connection unreadable"),
        ("b", "connection unreadable"),
    }


def test_a_seal_opens_under_its_own_name_only() -> None:
    sealer = Sealer(b"k" * 32)
    sealed = sealer.seal("a", "secret")
    assert sealer.open("a", sealed) == "secret"
    assert sealed != sealer.seal("a", "secret")
    for name, changed in (
        ("b", sealed),
        ("a", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        ("a", b"\x02" + sealed[1:]),
        ("a", b""),
    ):
        with pytest.raises(BrokenSeal):
            sealer.open(name, changed)
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(b"short")
