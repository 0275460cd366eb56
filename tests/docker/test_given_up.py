"""Streams and channels without a destination: what their function fails for good is found among the dead letters, and
goes back to it once it is mended."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from tests.docker.house import House, eventually, unique
from tests.docker.witness import CLIENT, Witness

pytestmark = pytest.mark.docker

FAIL = "def handler(event, context):\n    raise ValueError('cannot digest')\n"
TELL = CLIENT + "import json\ndef handler(event, context):\n    tell(json.dumps(event['Records']))\n"


@pytest.fixture
def store(hearth: House) -> Iterator["redis.Redis"]:
    with hearth.redis() as found:
        yield found


def told(hearth: House, *command: str) -> Any:
    return json.loads(hearth.command("dead-letters", *command, "--json"))


def the_letter(hearth: House, box: str) -> Any:
    """The one letter of a box, whole."""
    eventually(lambda: {"box": box, "count": 1} in boxes(hearth), "there is one dead letter")
    (brief,) = told(hearth, "list", box)
    return told(hearth, "show", box, brief["id"])


def boxes(hearth: House) -> list[dict[str, Any]]:
    return [{"box": one["box"], "count": one["count"]} for one in told(hearth, "boxes")]


def mended(hearth: House, witness: Witness, name: str) -> Any:
    """The records that the function gets by the redrive, once it can take them."""
    hearth.replace_code(name, TELL)
    assert told(hearth, "redrive", f"function/{name}")["moved"] == 1
    eventually(lambda: witness.count() == 1, "the letter is handled")
    assert f"function/{name}" not in {one["box"] for one in boxes(hearth)}
    return json.loads(witness.lines()[0])


def test_records_of_a_stream_go_back_after_the_function_is_mended(
    hearth: House, witness: Witness, store: "redis.Redis"
) -> None:
    name, stream = hearth.create("unfit", FAIL, variables={"WITNESS": witness.address}), unique("s")
    own_ids = [store.xadd(stream, {"data": data}) for data in ("a", "b")]
    source = f"arn:hearth:redis:us-east-1:000000000000:hearth/stream/{stream}"
    hearth.map_queue(name, source, StartingPosition="TRIM_HORIZON", MaximumRetryAttempts=1)

    letter = the_letter(hearth, f"function/{name}")
    assert (letter["reason"], letter["attempts"]) == ("RetryAttemptsExhausted", 2)
    assert (letter["sender"], letter["error"]["errorMessage"]) == (source, "cannot digest")
    assert letter["first_ms"] <= letter["last_ms"]
    records = json.loads(letter["payload"])["Records"]
    assert [one["redis"]["id"] for one in records] == own_ids
    assert mended(hearth, witness, name) == records
    assert hearth.health()["sources"]["stream"]["given_up"] >= 2


def test_messages_of_a_channel_go_back_after_the_function_is_mended(
    hearth: House, witness: Witness, store: "redis.Redis"
) -> None:
    name, channel = hearth.create("deaf", FAIL, variables={"WITNESS": witness.address}), unique("news")
    source = f"arn:hearth:redis:us-east-1:000000000000:hearth/channel/{channel}"
    hearth.map_queue(name, source, MaximumRetryAttempts=0)
    eventually(lambda: store.publish(channel, "hello") > 0, "somebody is subscribed")

    letter = the_letter(hearth, f"function/{name}")
    assert (letter["reason"], letter["sender"]) == ("RetryAttemptsExhausted", source)
    (record,) = mended(hearth, witness, name)
    assert record["message"] == "hello"
    assert hearth.health()["sources"]["channel"]["given_up"] >= 1
