"""Queues as producers and handlers see them, and with everything killed around them.

What handlers did is told to the test directly; what is left, and what was dead-lettered, is read from Redis.
"""

import json
import random
import time
from collections import Counter
from contextlib import suppress

import docker
import pytest
import redis
from tests.docker.house import House, eventually, house, unique
from tests.docker.witness import CLIENT, Witness
from tests.docker.witness import witness as listening

pytestmark = pytest.mark.docker

MESSAGES = 10_000
DAEMON_KILLS = 6
CONTAINER_KILLS = 20

HANDLE = CLIENT + "def handler(event, context):\n    tell(' '.join(one['body'] for one in event['Records']))\n"


def handled(witness: Witness) -> "Counter[str]":
    """How often each body was handled."""
    return Counter(body for line in witness.lines() for body in line.split())


def unfinished(store: "redis.Redis", queue: str) -> list[str]:
    """The bodies that are not done with, wherever they stand (see docs/queue-protocol.md)."""
    stem = f"hearth:{{{queue}}}"
    found = [str(each) for each in store.lrange(queue, 0, -1)]
    for key in store.scan_iter(match=f"{stem}:taken:*", count=1000):
        found += [str(each) for each in store.lrange(str(key), 0, -1)]
    # A message once claimed is "<failed attempts> <first received> <body>".
    return found + [str(each).split(" ", 2)[2] for each in store.hvals(f"{stem}:messages")]


class TestChaos:
    def test_nothing_is_lost_or_dead_lettered_when_everything_is_killed(
        self, docker_engine: docker.DockerClient
    ) -> None:
        seed = random.randrange(2**32)
        print(f"seed {seed}", flush=True)
        with (
            house(docker_engine, {"STEM_CELLS": '{"python3.13": 3}'}) as subject,
            listening(subject.gateway()) as witness,
        ):
            queue = unique("chaos")
            code = HANDLE.replace("    tell", "    import time; time.sleep(0.05)\n    tell")
            # A quarter of a CPU, so that killing is what limits it.
            name = subject.create("worker", code, memory_mb=512, variables={"WITNESS": witness.address})
            subject.map_queue(name, subject.queue_arn(queue), ScalingConfig={"MaximumConcurrency": 5})
            with subject.redis() as store:
                self._rage(subject, store, queue, witness, random.Random(seed))
                began = time.monotonic()
                eventually(lambda: len(handled(witness)) == MESSAGES, "every message is handled", 90)
                eventually(lambda: not unfinished(store, queue), "nothing is in the queue any more", 60)
                times = handled(witness)
                repeated = sum(count - 1 for count in times.values())
                print(
                    f"{repeated} of {MESSAGES} deliveries were repetitions, at most {max(times.values())} of one; "
                    f"quiet {time.monotonic() - began:.1f} s after the last kill",
                    flush=True,
                )
                assert set(times) == {f"m{number}" for number in range(MESSAGES)}
                assert store.llen(f"{queue}:dead") == 0

    def _rage(self, subject: House, store: "redis.Redis", queue: str, witness: Witness, chance: random.Random) -> None:
        """Push everything, in parts, and after each part kill something."""
        deeds = ["daemon"] * DAEMON_KILLS + ["container"] * CONTAINER_KILLS
        chance.shuffle(deeds)
        bodies = [f"m{number}" for number in range(MESSAGES)]
        part = -(-MESSAGES // len(deeds))
        for number, deed in enumerate(deeds):
            before = witness.count()
            store.rpush(queue, *bodies[number * part : (number + 1) * part])
            eventually(lambda: witness.count() > before + chance.randrange(20), "messages are handled")  # noqa: B023
            if deed == "daemon":
                subject.kill()
                subject.up()
            else:
                self._kill_one(subject, chance)

    def _kill_one(self, subject: House, chance: random.Random) -> None:
        running = [each for each in subject.containers() if each.status == "running"]
        with suppress(docker.errors.APIError):  # it has just ended
            chance.choice(running).kill()


class TestDelivery:
    def test_records_have_the_shape_of_sqs(self, hearth: House, witness: Witness, store: "redis.Redis") -> None:
        code = CLIENT + "import json\ndef handler(event, context):\n    tell(json.dumps(event))\n"
        name, queue = hearth.create("shape", code, variables={"WITNESS": witness.address}), unique("q")
        hearth.map_queue(name, hearth.queue_arn(queue))
        store.rpush(queue, '{"n": 1}')
        eventually(lambda: witness.count() == 1, "it is handled")
        (record,) = json.loads(witness.lines()[0])["Records"]
        assert record["body"] == '{"n": 1}'
        assert record["eventSource"] == "aws:sqs"
        assert record["eventSourceARN"] == hearth.queue_arn(queue)
        assert record["awsRegion"] == "us-east-1"
        assert record["attributes"]["ApproximateReceiveCount"] == "1"
        assert set(record) >= {"messageId", "receiptHandle", "md5OfBody", "messageAttributes", "attributes"}

    def test_a_named_connection_serves_as_well(self, hearth: House, witness: Witness, redis_url: str) -> None:
        name, queue = hearth.create("mine", HANDLE, variables={"WITNESS": witness.address}), unique("q")
        arn = f"arn:hearth:redis:us-east-1:000000000000:mine/list/{queue}"
        identity = hearth.map_queue(name, arn)
        with redis.Redis.from_url(redis_url) as store:
            store.rpush(queue, "one", "two")
        eventually(lambda: handled(witness) == {"one": 1, "two": 1}, "both are handled")
        hearth.api.delete_event_source_mapping(UUID=identity)

    @pytest.mark.parametrize("push", ["RPUSH", "LPUSH"])
    def test_messages_arrive_in_the_order_they_were_pushed_from_either_end(
        self, hearth: House, witness: Witness, store: "redis.Redis", push: str
    ) -> None:
        name, queue = hearth.create("order", HANDLE, variables={"WITNESS": witness.address}), unique("q")
        bodies = [f"b{number}" for number in range(10)]
        getattr(store, push.lower())(queue, *bodies)
        hearth.map_queue(name, hearth.queue_arn(queue), Tags={"hearth:producer": push})
        eventually(lambda: len(handled(witness)) == 10, "all are handled")
        assert " ".join(witness.lines()).split() == bodies

    def test_a_window_fills_the_batch(self, hearth: House, witness: Witness, store: "redis.Redis") -> None:
        name, queue = hearth.create("window", HANDLE, variables={"WITNESS": witness.address}), unique("q")
        hearth.map_queue(name, hearth.queue_arn(queue), BatchSize=50, MaximumBatchingWindowInSeconds=2)
        for number in range(50):
            store.rpush(queue, f"b{number}")
        eventually(lambda: len(handled(witness)) == 50, "all are handled")
        assert max(len(line.split()) for line in witness.lines()) > 10

    def test_a_disabled_mapping_takes_nothing(self, hearth: House, witness: Witness, store: "redis.Redis") -> None:
        name, queue = hearth.create("off", HANDLE, variables={"WITNESS": witness.address}), unique("q")
        identity = hearth.map_queue(name, hearth.queue_arn(queue))
        hearth.api.update_event_source_mapping(UUID=identity, Enabled=False)
        hearth.mapping_is(identity, "Disabled")
        store.rpush(queue, "kept", "too")
        # Nothing can be awaited that must not happen: another mapping's whole round trip is the measure of time.
        other = unique("q")
        hearth.map_queue(name, hearth.queue_arn(other))
        store.rpush(other, "other")
        eventually(lambda: "other" in handled(witness), "the other queue is served")
        assert store.lrange(queue, 0, -1) == ["kept", "too"]
        assert set(handled(witness)) == {"other"}
        hearth.api.update_event_source_mapping(UUID=identity, Enabled=True)
        eventually(lambda: set(handled(witness)) == {"other", "kept", "too"}, "now it is served")

    def test_deleting_a_mapping_gives_everything_back(
        self, hearth: House, witness: Witness, store: "redis.Redis"
    ) -> None:
        code = CLIENT + "def handler(event, context):\n    tell('tried')\n    raise ValueError('not yet')\n"
        name, queue = hearth.create("back", code, variables={"WITNESS": witness.address}), unique("q")
        identity = hearth.map_queue(name, hearth.queue_arn(queue), BatchSize=2)
        bodies = [f"b{number}" for number in range(20)]
        store.rpush(queue, *bodies)
        eventually(lambda: witness.count() > 3, "it fails some")
        hearth.api.delete_event_source_mapping(UUID=identity)
        listed = hearth.api.list_event_source_mappings
        eventually(lambda: not listed(FunctionName=name)["EventSourceMappings"], "the mapping is gone")
        assert sorted(unfinished(store, queue)) == sorted(bodies)
        # What has failed before waits for the next mapping, with its count.
        heir = hearth.create("heir", HANDLE, variables={"WITNESS": witness.address})
        hearth.map_queue(heir, hearth.queue_arn(queue))
        eventually(lambda: set(handled(witness)) >= set(bodies), "another function gets them all")
        eventually(lambda: not unfinished(store, queue), "the queue is empty")


class TestFailure:
    def test_only_what_failed_comes_again(self, hearth: House, witness: Witness, store: "redis.Redis") -> None:
        code = CLIENT + (
            "def handler(event, context):\n"
            "    failed = []\n"
            "    for one in event['Records']:\n"
            "        tries = int(one['attributes']['ApproximateReceiveCount'])\n"
            "        tell(one['body'])\n"
            "        if one['body'].startswith('odd') and tries < 3:\n"
            "            failed.append({'itemIdentifier': one['messageId']})\n"
            "    return {'batchItemFailures': failed}\n"
        )
        name, queue = hearth.create("partial", code, variables={"WITNESS": witness.address}), unique("q")
        store.rpush(queue, *[f"{'odd' if number % 2 else 'even'}{number}" for number in range(10)])
        hearth.map_queue(name, hearth.queue_arn(queue), FunctionResponseTypes=["ReportBatchItemFailures"])
        eventually(lambda: sum(handled(witness).values()) == 5 + 15, "the odd ones came three times", 30)
        eventually(lambda: not unfinished(store, queue), "the queue is empty")
        assert handled(witness) == {
            **{f"even{number}": 1 for number in range(0, 10, 2)},
            **{f"odd{number}": 3 for number in range(1, 10, 2)},
        }

    def test_poison_is_set_apart_with_payload_error_and_attempts(
        self, hearth: House, witness: Witness, store: "redis.Redis"
    ) -> None:
        code = CLIENT + (
            "def handler(event, context):\n"
            "    tell(event['Records'][0]['body'])\n"
            "    if event['Records'][0]['body'] == 'poison':\n"
            "        raise ValueError('cannot digest')\n"
        )
        name, queue = hearth.create("poison", code, variables={"WITNESS": witness.address}), unique("q")
        store.rpush(queue, "poison", "food")
        tags = {"hearth:max-receive-count": "2"}
        hearth.map_queue(name, hearth.queue_arn(queue), BatchSize=1, Tags=tags)
        eventually(lambda: store.llen(f"{queue}:dead") == 1, "it is set apart", 30)
        assert handled(witness) == {"poison": 2, "food": 1}
        record = json.loads(str(store.lindex(f"{queue}:dead", 0)))
        assert (record["payload"], record["encoding"], record["attempts"]) == ("poison", "utf-8", 2)
        assert record["error"]["errorType"] == "ValueError"
        assert record["error"]["errorMessage"] == "cannot digest"
        assert record["source"] == hearth.queue_arn(queue)
        assert not unfinished(store, queue)

    def test_a_cap_of_two_dead_letters_nothing_of_50000(
        self, hearth: House, witness: Witness, store: "redis.Redis"
    ) -> None:
        name, queue = (
            hearth.create("narrow", HANDLE, memory_mb=512, variables={"WITNESS": witness.address}),
            unique("q"),
        )
        hearth.api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
        tags = {"hearth:max-receive-count": "1"}
        hearth.map_queue(name, hearth.queue_arn(queue), Tags=tags)
        bodies = [f"b{number}" for number in range(50_000)]
        for start in range(0, len(bodies), 5_000):
            store.rpush(queue, *bodies[start : start + 5_000])
        # Counting what was handled takes a core from whoever handles it, so not before everything has been taken.
        eventually(lambda: store.llen(queue) == 0, "all are taken", 240)
        eventually(lambda: len(handled(witness)) == len(bodies), "all are handled")
        eventually(lambda: not unfinished(store, queue), "the queue is empty")
        assert sum(handled(witness).values()) == len(bodies)
        assert store.llen(f"{queue}:dead") == 0

    def test_a_function_stopped_by_a_cap_of_zero_loses_nothing(
        self, hearth: House, witness: Witness, store: "redis.Redis"
    ) -> None:
        name, queue = hearth.create("stopped", HANDLE, variables={"WITNESS": witness.address}), unique("q")
        hearth.api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        hearth.map_queue(name, hearth.queue_arn(queue), Tags={"hearth:max-receive-count": "1"})
        store.rpush(queue, *"abc")
        hearth.api.delete_function_concurrency(FunctionName=name)
        eventually(lambda: handled(witness) == {"a": 1, "b": 1, "c": 1}, "all are handled once it may run")
        assert store.llen(f"{queue}:dead") == 0
