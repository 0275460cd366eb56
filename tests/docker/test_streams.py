"""Streams as producers and handlers see them: order by key, poison alone, nothing lost when Hearth is killed."""

import json
from collections.abc import Iterator
from typing import Any

import docker
import pytest
import redis
from tests.docker.house import House, eventually, house, unique
from tests.docker.witness import CLIENT, Witness
from tests.docker.witness import witness as listening

pytestmark = pytest.mark.docker

READ = (
    "import base64, json\n"
    "def datas(event):\n"
    "    return [base64.b64decode(one['kinesis']['data']).decode() for one in event['Records']]\n"
)
HANDLE = CLIENT + READ + "def handler(event, context):\n    tell(' '.join(datas(event)))\n"


def stream_arn(stream: str) -> str:
    return f"arn:aws:kinesis:us-east-1:000000000000:stream/{stream}"


def handled(witness: Witness) -> list[str]:
    """Every record that was handled, in order, the first time of each."""
    return list(dict.fromkeys(value for line in witness.lines() for value in line.split()))


def is_settled(store: "redis.Redis", stream: str, mapping: str) -> bool:
    """Everything was read by the mapping, and nothing is pending."""
    groups: Any = store.xinfo_groups(stream)
    last = store.xinfo_stream(stream)["last-generated-id"]
    mine = [one for one in groups if one["name"] == mapping]
    return bool(mine) and mine[0]["pending"] == 0 and mine[0]["last-delivered-id"] == last


@pytest.fixture
def store(hearth: House) -> Iterator["redis.Redis"]:
    with hearth.redis() as found:
        yield found


def test_records_have_the_shape_of_kinesis(hearth: House, witness: Witness, store: "redis.Redis") -> None:
    code = CLIENT + "import json\ndef handler(event, context):\n    tell(json.dumps(event))\n"
    name, stream = hearth.create("shape", code, variables={"WITNESS": witness.address}), unique("s")
    own_id = store.xadd(stream, {"partitionKey": "ada", "data": '{"n": 1}', "more": "text"})
    hearth.map_queue(name, stream_arn(stream), StartingPosition="TRIM_HORIZON")
    eventually(lambda: witness.count() == 1, "it is handled")

    (record,) = json.loads(witness.lines()[0])["Records"]
    assert record["eventSource"] == "aws:kinesis"
    assert record["eventSourceARN"] == stream_arn(stream)
    assert record["kinesis"]["partitionKey"] == "ada"
    assert record["kinesis"]["data"] == "eyJuIjogMX0="
    assert record["eventID"] == f"shardId-000000000000:{record['kinesis']['sequenceNumber']}"
    assert record["invokeIdentityArn"].startswith("arn:aws:iam::")
    assert record["redis"]["id"] == own_id
    assert record["redis"]["fields"] == {"partitionKey": "ada", "more": "text"}


def test_keys_keep_their_order_on_four_lanes(hearth: House, witness: Witness, store: "redis.Redis") -> None:
    name, stream = hearth.create("order", HANDLE, variables={"WITNESS": witness.address}), unique("s")
    mapping = hearth.map_queue(
        name, stream_arn(stream), StartingPosition="LATEST", ParallelizationFactor=4, BatchSize=7
    )
    for number in range(200):
        for key in "ABCDEFGH":
            store.xadd(stream, {"partitionKey": key, "data": f"{key}{number}"})
    eventually(lambda: is_settled(store, stream, mapping), "everything is handled")

    values = handled(witness)
    assert len(values) == 1_600
    for key in "ABCDEFGH":
        assert [value for value in values if value[0] == key] == [f"{key}{number}" for number in range(200)]


def test_poison_ends_alone_at_the_destination(hearth: House, witness: Witness, store: "redis.Redis") -> None:
    code = HANDLE.replace(
        "    tell", "    if 'r5' in datas(event):\n        raise ValueError('cannot digest')\n    tell"
    )
    name, stream, failures = (
        hearth.create("bisect", code, variables={"WITNESS": witness.address}),
        unique("s"),
        unique("f"),
    )
    own_ids = [store.xadd(stream, {"data": f"r{number}"}) for number in range(10)]
    mapping = hearth.map_queue(
        name,
        f"arn:hearth:redis:us-east-1:000000000000:hearth/stream/{stream}",
        StartingPosition="TRIM_HORIZON",
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        DestinationConfig={
            "OnFailure": {"Destination": f"arn:hearth:redis:us-east-1:000000000000:hearth/list/{failures}"}
        },
    )
    eventually(lambda: is_settled(store, stream, mapping), "everything is handled or given up", 90)
    eventually(lambda: store.llen(failures) == 1, "the failure record is there")

    assert handled(witness) == [f"r{number}" for number in range(10) if number != 5]
    record = json.loads(str(store.lindex(failures, 0)))
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["RedisStreamBatchInfo"]["batchSize"] == 1
    (poison,) = record["payload"]["Records"]
    assert poison["redis"]["id"] == own_ids[5]
    assert record["responsePayload"]["errorMessage"] == "cannot digest"


def test_windows_hand_on_their_state(hearth: House, witness: Witness, store: "redis.Redis") -> None:
    code = (
        CLIENT
        + READ
        + (
            "def handler(event, context):\n"
            "    state = event['state']\n"
            "    if event['isFinalInvokeForWindow']:\n"
            "        tell(json.dumps(state))\n"
            "        return\n"
            "    return {'state': {'sum': state.get('sum', 0) + sum(map(int, datas(event)))}}\n"
        )
    )
    name, stream = hearth.create("window", code, variables={"WITNESS": witness.address}), unique("s")
    mapping = hearth.map_queue(
        name, stream_arn(stream), StartingPosition="TRIM_HORIZON", TumblingWindowInSeconds=2, BatchSize=3
    )
    for number in range(10):
        store.xadd(stream, {"data": str(number)})
    eventually(lambda: is_settled(store, stream, mapping), "everything is handled")
    eventually(lambda: sum(json.loads(line)["sum"] for line in witness.lines()) == 45, "the windows are closed")


def test_a_deleted_mapping_leaves_no_group_behind(hearth: House, witness: Witness, store: "redis.Redis") -> None:
    name, stream = hearth.create("gone", HANDLE, variables={"WITNESS": witness.address}), unique("s")
    store.xadd(stream, {"data": "one"})
    mapping = hearth.map_queue(name, stream_arn(stream), StartingPosition="TRIM_HORIZON")
    eventually(lambda: is_settled(store, stream, mapping), "it is handled")
    hearth.api.delete_event_source_mapping(UUID=mapping)

    listed = hearth.api.list_event_source_mappings
    eventually(lambda: not listed(FunctionName=name)["EventSourceMappings"], "the mapping is gone")
    assert store.xinfo_groups(stream) == []
    assert [key for key in store.scan_iter(match="hearth:*") if mapping in str(key)] == []


def test_nothing_is_lost_when_hearth_is_killed(docker_engine: docker.DockerClient) -> None:
    records = 2_000
    with (
        house(docker_engine, {"STEM_CELLS": '{"python3.13": 2}'}) as subject,
        listening(subject.gateway()) as witness,
    ):
        code = HANDLE.replace("    tell", "    import time; time.sleep(0.05)\n    tell")
        name, stream = subject.create("worker", code, variables={"WITNESS": witness.address}), unique("s")
        mapping = subject.map_queue(
            name, stream_arn(stream), StartingPosition="TRIM_HORIZON", ParallelizationFactor=3, BatchSize=10
        )
        with subject.redis() as store:
            for kill in range(4):
                before = witness.count()
                with store.pipeline(transaction=False) as pipe:
                    for value in range(kill * (records // 4), (kill + 1) * (records // 4)):
                        pipe.xadd(stream, {"partitionKey": str(value % 20), "data": str(value)})
                    pipe.execute()
                eventually(lambda: witness.count() > before + 5, "it works")  # noqa: B023
                subject.kill()
                subject.up()
            eventually(lambda: is_settled(store, stream, mapping), "everything is handled", 120)

        values = [int(value) for value in handled(witness)]
        repeated = sum(len(line.split()) for line in witness.lines()) - len(values)
        print(f"{repeated} of {records} records were handled more than once", flush=True)
        assert sorted(values) == list(range(records))
        for key in range(20):
            mine = [value for value in values if value % 20 == key]
            assert mine == sorted(mine)
