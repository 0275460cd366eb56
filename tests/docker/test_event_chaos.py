"""Numbered messages through every source at once, at full speed, while everything is killed around them.

What a sender was told is taken is what counts: each such message must be handled, none may be set apart. How often
messages were handled more than once is counted and printed. `HEARTH_CHAOS_ROUNDS` makes a long run of it.
"""

import hashlib
import hmac
import itertools
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import boto3
import docker
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tests.docker.house import House, eventually, house, unique
from tests.docker.witness import CLIENT, Witness
from tests.docker.witness import witness as listening

pytestmark = pytest.mark.docker

ROUNDS = int(os.environ.get("HEARTH_CHAOS_ROUNDS", "1"))
DEEDS = ("daemon", "container", "redis", "container", "pause", "daemon", "container", "redis", "container")
"""Of one round, in random order."""
MOST_PER_ROUND = 1_500
"""Messages of one source; the rest of the round is for the others."""
SEND_LIMIT_S = 60.0
PAUSE_S = 2.0
ARN = "arn:aws:{}:us-east-1:000000000000:{}"
SCHEDULES = 40

HANDLER = """
import base64, json

def handler(event, context):
    tell(%r + " " + " ".join(%s))
"""

Send = Callable[[str], object]


@dataclass(slots=True)
class Source:
    """A way for messages to come in. `names` is how the handler finds them in its event, as Python."""

    name: str
    names: str
    arrange: Callable[["Scene", str], Send]
    most: int = MOST_PER_ROUND
    pause_s: float = 0.0
    """Between messages, for what would otherwise be done before the killing begins."""
    acknowledged: set[str] = field(default_factory=set)
    refused: int = 0


class Scene:
    """One Hearth, its clients, and what is killed in it."""

    def __init__(self, subject: House, witness: Witness, chance: random.Random) -> None:
        self.subject = subject
        self.witness = witness
        self.chance = chance
        self.over = threading.Event()

    def client(self, service: str) -> Any:
        variables = self.subject.variables
        return boto3.client(
            service,
            endpoint_url=variables["AWS_ENDPOINT_URL"],
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            region_name=variables["AWS_REGION"],
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20, proxies={}),
        )

    def send_all(self, source: Source, send: Send) -> None:
        """Numbered messages, each until it is taken, until the killing is over."""
        for number in range(source.most * ROUNDS):
            if self.over.is_set():
                return
            message, until = f"m{number}", time.monotonic() + SEND_LIMIT_S
            while message not in source.acknowledged:
                assert time.monotonic() < until, f"{source.name} takes nothing for {SEND_LIMIT_S} s"
                try:
                    send(message)
                    source.acknowledged.add(message)
                except (BotoCoreError, ClientError, redis.RedisError, OSError):
                    source.refused += 1
                    self.over.wait(0.05)
            self.over.wait(source.pause_s)

    def do(self, deed: str) -> None:
        match deed:
            case "daemon":
                self.subject.kill()
                self.subject.up()
            case "redis":
                container = self.redis()
                container.kill()
                container.start()
            case "pause":
                container = self.redis()
                container.pause()
                self.over.wait(PAUSE_S)
                container.unpause()
            case _:
                running = [each for each in self.subject.containers() if each.status == "running"]
                with suppress(docker.errors.APIError, IndexError):  # it has just ended
                    self.chance.choice(running).kill()

    def redis(self) -> Any:
        return self.subject.containers(role="redis")[0]


def to_list(scene: Scene, function: str) -> Send:
    key = unique("chaos")
    scene.subject.map_queue(function, ARN.format("sqs", key))
    store = scene.subject.redis()
    return lambda message: store.rpush(key, message)


def to_queue(scene: Scene, function: str) -> Send:
    sqs = scene.client("sqs")
    url = sqs.create_queue(QueueName=unique("chaos"))["QueueUrl"]
    scene.subject.map_queue(function, ARN.format("sqs", url.rpartition("/")[2]))
    return lambda message: sqs.send_message(QueueUrl=url, MessageBody=message)


def to_fifo(scene: Scene, function: str) -> Send:
    sqs, turn = scene.client("sqs"), itertools.count()
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    url = sqs.create_queue(QueueName=f"{unique('chaos')}.fifo", Attributes=attributes)["QueueUrl"]
    scene.subject.map_queue(function, ARN.format("sqs", url.rpartition("/")[2]))
    return lambda message: sqs.send_message(QueueUrl=url, MessageBody=message, MessageGroupId=f"g{next(turn) % 5}")


def to_other(scene: Scene, function: str) -> Send:
    """A queue behind the wire of SQS: this Hearth's own, as if it were another's."""
    variables, name = scene.subject.variables, unique("other")
    pair = ":".join(quote(variables[one], safe="") for one in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    url = f"sqs+http://{pair}@127.0.0.1:{scene.subject.port}/{variables['AWS_REGION']}"
    scene.subject.command("connections", "add", name, "-", stdin=url.encode())
    sqs = scene.client("sqs")
    queue = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "5"})["QueueUrl"]
    scene.subject.map_queue(function, f"arn:hearth:sqs:us-east-1:000000000000:{name}/{name}")
    return lambda message: sqs.send_message(QueueUrl=queue, MessageBody=message)


def to_stream(scene: Scene, function: str) -> Send:
    key = unique("chaos")
    scene.subject.map_queue(
        function, ARN.format("kinesis", f"stream/{key}"), StartingPosition="TRIM_HORIZON", ParallelizationFactor=4
    )
    store = scene.subject.redis()
    return lambda message: store.xadd(key, {"data": message, "partitionKey": message[-1]})


def to_function(scene: Scene, function: str) -> Send:
    aws = scene.client("lambda")

    def send(message: str) -> None:
        aws.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps({"m": message}))

    return send


def allow(scene: Scene, function: str, service: str) -> str:
    """The function's ARN, once the service may invoke it."""
    scene.subject.api.add_permission(
        FunctionName=function, StatementId=service, Action="lambda:InvokeFunction", Principal=f"{service}.amazonaws.com"
    )
    return ARN.format("lambda", f"function:{function}")


def to_topic(scene: Scene, function: str) -> Send:
    sns = scene.client("sns")
    topic = sns.create_topic(Name=unique("chaos"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=allow(scene, function, "sns"))
    return lambda message: sns.publish(TopicArn=topic, Message=message)


def to_bus(scene: Scene, function: str) -> Send:
    events, rule = scene.client("events"), unique("chaos")
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": [rule]}))
    events.put_targets(Rule=rule, Targets=[{"Id": "one", "Arn": allow(scene, function, "events")}])

    def send(message: str) -> None:
        entry = {"Source": rule, "DetailType": "chaos", "Detail": json.dumps({"m": message})}
        answer = events.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            raise OSError(str(answer))

    return send


def to_schedules(scene: Scene, function: str) -> Send:
    """Schedules that are due while the killing goes on."""
    scheduler, stem = scene.client("scheduler"), unique("chaos")
    target = {
        "Arn": ARN.format("lambda", f"function:{function}"),
        "RoleArn": "arn:aws:iam::000000000000:role/scheduler",
    }

    def send(message: str) -> None:
        due = datetime.now(UTC) + timedelta(seconds=3)
        with suppress(scheduler.exceptions.ConflictException):  # the answer to the first try was lost
            scheduler.create_schedule(
                Name=f"{stem}-{message}",
                ScheduleExpression=f"at({due:%Y-%m-%dT%H:%M:%S})",
                FlexibleTimeWindow={"Mode": "OFF"},
                Target={**target, "Input": json.dumps({"m": message})},
            )
        scene.over.wait(0.3)

    return send


def to_hook(scene: Scene, function: str) -> Send:
    hook, secret = unique("chaos"), "a secret of the chaos"
    scene.subject.command(
        "hooks", "create", hook, "--style", "generic", "--target", function, "--secret", secret,
        "--delivery-header", "X-Delivery",
    )  # fmt: skip

    def send(message: str) -> None:
        body = json.dumps({"m": message}).encode()
        signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Signature": signed, "X-Delivery": message}
        page = scene.subject.http("POST", f"/hooks/{hook}", headers, body)
        if page.status != 202:
            raise OSError(f"{page.status} {page.body!r}")

    return send


def sources() -> list[Source]:
    bodies, plain = "[r['body'] for r in event['Records']]", "[event['m']]"
    return [
        Source("list", bodies, to_list, most=10_000, pause_s=0.003),
        Source("queue", bodies, to_queue),
        Source("fifo", bodies, to_fifo),
        Source("other", bodies, to_other),
        Source(
            "stream",
            "[base64.b64decode(r['kinesis']['data']).decode() for r in event['Records']]",
            to_stream,
            most=10_000,
            pause_s=0.003,
        ),
        Source("asynchronous", plain, to_function),
        Source("topic", "[event['Records'][0]['Sns']['Message']]", to_topic),
        Source("bus", "[event['detail']['m']]", to_bus),
        Source("hook", "[json.loads(event['body'])['m']]", to_hook),
        Source("schedule", plain, to_schedules, most=SCHEDULES),
    ]


def handled(witness: Witness) -> dict[str, "Counter[str]"]:
    """How often each message was handled, by source."""
    found: dict[str, Counter[str]] = {}
    for line in witness.lines():
        name, *messages = line.split()
        found.setdefault(name, Counter()).update(messages)
    return found


def missing(scene: Scene, all_sources: list[Source]) -> dict[str, int]:
    seen = handled(scene.witness)
    gaps = {one.name: len(one.acknowledged - seen.get(one.name, Counter()).keys()) for one in all_sources}
    return {name: count for name, count in gaps.items() if count}


@pytest.fixture
def scene(docker_engine: docker.DockerClient) -> Iterator[Scene]:
    seed = random.randrange(2**32)
    print(f"seed {seed}", flush=True)
    settings = {"STEM_CELLS": '{"python3.13": 4}', "ASYNC_RETRY_DELAYS_S": "[1, 2]", "MISSED_FIRINGS": "latest"}
    with house(docker_engine, settings) as subject, listening(subject.gateway()) as witness:
        yield Scene(subject, witness, random.Random(seed))


@pytest.mark.timeout(300 + 600 * ROUNDS)
def test_every_acknowledged_message_of_every_source_is_handled(scene: Scene) -> None:
    everything = sources()
    senders = []
    for source in everything:
        code = CLIENT + HANDLER % (source.name, source.names)
        function = scene.subject.create(source.name, code, memory_mb=256, variables={"WITNESS": scene.witness.address})
        # Few at a time, or the containers of some would push out those of others.
        scene.subject.api.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=3)
        senders.append((source, source.arrange(scene, function)))
    threads = [
        threading.Thread(target=scene.send_all, args=pair, name=f"sender {pair[0].name}", daemon=True)
        for pair in senders
    ]
    for thread in threads:
        thread.start()
    try:
        rage(scene)
    finally:
        scene.over.set()
        for thread in threads:
            thread.join(SEND_LIMIT_S)
    assert not any(thread.is_alive() for thread in threads)
    began = time.monotonic()
    try:
        eventually(lambda: not missing(scene, everything), "all is handled", 120)
    finally:
        print(f"missing: {missing(scene, everything)}")
    report(scene, everything, time.monotonic() - began)
    boxes = json.loads(scene.subject.command("dead-letters", "boxes", "--json"))
    assert not any(box["count"] for box in boxes), boxes


def rage(scene: Scene) -> None:
    for _ in range(ROUNDS):
        deeds = list(DEEDS)
        scene.chance.shuffle(deeds)
        for deed in deeds:
            before = scene.witness.count()
            eventually(lambda: scene.witness.count() > before + 50, "messages are handled", 120)  # noqa: B023
            scene.do(deed)


def report(scene: Scene, everything: list[Source], drained_s: float) -> None:
    seen = handled(scene.witness)
    for source in everything:
        times = seen.get(source.name, Counter())
        repeated = sum(count - 1 for count in times.values())
        print(
            f"{source.name}: {len(source.acknowledged)} taken, {repeated} repetitions, {source.refused} refusals on "
            f"the way, at most {max(times.values(), default=0)} of one",
            flush=True,
        )
    print(f"all handled {drained_s:.1f} s after the last kill", flush=True)
