"""What a server keeps when it dies: never more is said than its settings make true."""

from typing import Any

import pytest

from hearth_gateway.core.durability import Durability, ServerFacts, durability_of, facts_of, warnings_of


@pytest.mark.parametrize(
    ("facts", "durability"),
    [
        ({"appendonly": True, "appendfsync": "always"}, Durability.EVERY_WRITE),
        ({"appendonly": True, "appendfsync": "everysec", "version": "7.2.0"}, Durability.AWAITED),
        ({"appendonly": True, "appendfsync": "everysec", "version": "10.0.0"}, Durability.AWAITED),
        ({"appendonly": True, "appendfsync": "everysec", "version": "7.0.15"}, Durability.LAST_SECOND),
        ({"appendonly": True, "appendfsync": "everysec", "version": "odd"}, Durability.LAST_SECOND),
        ({"appendonly": True, "appendfsync": "no"}, Durability.LAST_HALF_MINUTE),
        ({"appendonly": True, "appendfsync": None}, Durability.UNKNOWN),
        ({"appendonly": False, "save": "3600 1"}, Durability.SNAPSHOTS),
        ({"appendonly": False, "save": ""}, Durability.NOTHING),
        ({"appendonly": False, "save": None}, Durability.NOTHING),
        ({}, Durability.UNKNOWN),
    ],
)
def test_durability_is_what_the_settings_make_true(facts: dict[str, Any], durability: Durability) -> None:
    assert durability_of(ServerFacts(**facts)) is durability


def test_info_tells_of_the_append_only_file_where_config_is_not_allowed() -> None:
    info = {"redis_version": "7.4.1", "role": "slave", "aof_enabled": "1", "maxmemory": "1000", "connected_slaves": "2"}
    facts = facts_of({**info, "maxmemory_policy": "allkeys-lru"}, {})
    assert facts == ServerFacts("7.4.1", "replica", True, None, None, 1000, "allkeys-lru", 2)
    assert durability_of(facts) is Durability.UNKNOWN


def test_every_danger_is_named() -> None:
    facts = ServerFacts("6.0.9", "replica", maxmemory=1, maxmemory_policy="allkeys-lru", replicas=1)
    words = " ".join(warnings_of(facts))
    for word in ("replica", "6.2", "allkeys-lru", "asynchronous"):
        assert word in words
    assert warnings_of(ServerFacts("8.0.2", "master", maxmemory=0, maxmemory_policy="allkeys-lru")) == ()
