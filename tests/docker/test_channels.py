"""Named connections and channels, from the command to the handler."""

import json
import uuid

import pytest
import redis
from tests.docker.house import House, eventually, unique
from tests.docker.witness import CLIENT, Witness

pytestmark = pytest.mark.docker

HANDLE = CLIENT + "import json\ndef handler(event, context):\n    tell(json.dumps(event['Records']))\n"
FAIL = "def handler(event, context):\n    raise ValueError('never')\n"


def heard(witness: Witness) -> list[str]:
    return [record["message"] for line in witness.lines() for record in json.loads(line)]


def publish_until_heard(store: "redis.Redis", channel: str, message: str) -> None:
    """A message that nobody is subscribed to is lost: the first one goes out when somebody is."""
    eventually(lambda: store.publish(channel, message) > 0, "somebody is subscribed")


def arn(connection: str, rest: str) -> str:
    return f"arn:hearth:redis:us-east-1:000000000000:{connection}/{rest}"


def test_a_connection_made_while_hearth_runs_serves_channels(hearth: House, witness: Witness, redis_url: str) -> None:
    connection, channel = unique("new"), unique("news")
    url = redis_url.replace("redis://", "redis://default:s3cret@")
    with redis.Redis.from_url(redis_url) as store:
        store.acl_setuser("default", enabled=True, nopass=True)  # any password will do
        hearth.command("connections", "add", connection, "-", stdin=url.encode())
        listed = hearth.command("connections", "list", "--json")
        assert "s3cret" not in listed
        assert any(one["name"] == connection and "****" in one["url"] for one in json.loads(listed))
        found = json.loads(hearth.command("connections", "test", connection, "--json"))
        assert (found["ok"], found["role"]) == (True, "master")
        assert found["durability"].startswith("every write")

        name = hearth.create("channel", HANDLE, variables={"WITNESS": witness.address})
        mapping = hearth.map_queue(name, arn(connection, f"channel/{channel}"))
        publish_until_heard(store, channel, "first")
        eventually(lambda: heard(witness) == ["first"], "it is handled")
        for number in range(50):
            store.publish(channel, f"{number}")
        eventually(lambda: len(heard(witness)) == 51, "all are handled")
        assert sorted(heard(witness)) == sorted(["first", *map(str, range(50))])
        said = hearth.api.get_event_source_mapping(UUID=mapping)["LastProcessingResult"]
        assert said == "OK (at most once)"

    with pytest.raises(AssertionError, match=f"is used by the event source mapping {mapping}"):
        hearth.command("connections", "remove", connection)
    hearth.api.delete_event_source_mapping(UUID=mapping)
    eventually(lambda: removed(hearth, connection), "nothing uses it any more")
    assert "s3cret" not in hearth.place.log.read_text()


def removed(hearth: House, connection: str) -> bool:
    try:
        hearth.command("connections", "remove", connection)
    except AssertionError as refused:
        assert "is used by" in str(refused)
        return False
    return True


def test_a_pattern_hears_every_channel_it_matches(hearth: House, witness: Witness, store: "redis.Redis") -> None:
    stem = unique("p")
    name = hearth.create("pattern", HANDLE, variables={"WITNESS": witness.address})
    hearth.map_queue(name, arn("hearth", f"pattern/{stem}.*"))
    publish_until_heard(store, f"{stem}.a", "one")
    store.publish(f"{stem}.b", "two")
    store.publish(f"{stem}x", "not this one")
    eventually(lambda: sorted(heard(witness)) == ["one", "two"], "both are handled")
    records = [record for line in witness.lines() for record in json.loads(line)]
    assert {record["channel"] for record in records} == {f"{stem}.a", f"{stem}.b"}
    assert {record["pattern"] for record in records} == {f"{stem}.*"}
    assert len({uuid.UUID(record["messageId"]) for record in records}) == 2


def test_what_a_function_cannot_take_goes_to_the_destination(hearth: House, store: "redis.Redis") -> None:
    name, channel, target = hearth.create("fails", FAIL), unique("bad"), unique("lost")
    options = {
        "MaximumRetryAttempts": 0,
        "DestinationConfig": {"OnFailure": {"Destination": arn("hearth", f"list/{target}")}},
    }
    mapping = hearth.map_queue(name, arn("hearth", f"shard-channel/{channel}"), **options)
    eventually(lambda: store.spublish(channel, "poison") > 0, "somebody is subscribed")
    eventually(lambda: store.llen(target) == 1, "the record is in the list")
    record = str(store.lrange(target, 0, -1)[0])
    assert "poison" in record and "RetryAttemptsExhausted" in record and "never" in record
    hearth.api.delete_event_source_mapping(UUID=mapping)


def test_a_connection_outlives_the_death_of_the_daemon(hearth: House, witness: Witness, redis_url: str) -> None:
    connection, channel = unique("kept"), unique("news")
    hearth.command("connections", "add", connection, redis_url)
    name = hearth.create("kept", HANDLE, variables={"WITNESS": witness.address})
    mapping = hearth.map_queue(name, arn(connection, f"channel/{channel}"))
    with redis.Redis.from_url(redis_url) as other:
        publish_until_heard(other, channel, "before")
        hearth.kill()
        hearth.up()
        publish_until_heard(other, channel, "after")
        eventually(lambda: "after" in heard(witness), "it is handled")
    hearth.api.delete_event_source_mapping(UUID=mapping)
