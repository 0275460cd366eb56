"""Asynchronous invocations from end to end: kills, destinations of every kind, dead letters and the way back."""

import hashlib
import hmac
import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import docker
import pytest
import redis
from botocore.config import Config
from tests.docker.house import House, eventually, house, unique
from tests.docker.witness import CLIENT, Witness
from tests.docker.witness import witness as listening

pytestmark = pytest.mark.docker

EVENTS = 300
KILLS = 4
TELL = CLIENT + "def handler(event, context):\n    tell(str(event['n']))\n    return event\n"
FAIL = "def handler(event, context):\n    raise ValueError('boom')\n"
CONNECTION = "mine"


@pytest.fixture(scope="module")
def subject(docker_engine: docker.DockerClient, redis_url: str) -> Iterator[House]:
    """A Hearth that retries soon, and may call webhooks on this host."""
    settings = {
        "ASYNC_RETRY_DELAYS_S": "[0.2, 0.4]",
        "WEBHOOK_REACH": "everywhere",
        "CONNECTIONS": f'{{"{CONNECTION}": "{redis_url}"}}',
    }
    with house(docker_engine, settings) as found:
        yield found


@pytest.fixture
def witness(subject: House) -> Iterator[Witness]:
    with listening(subject.gateway()) as found:
        yield found


def asynchronously(subject: House, name: str, event: Any, key: str = "") -> str:
    """Invoke; the request id."""
    client = subject.client()
    if key:
        client.meta.events.register(
            "before-sign.lambda.Invoke",
            lambda request, **_: request.headers.add_header("X-Hearth-Idempotency-Key", key),
        )
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode())
    assert answer["StatusCode"] == 202
    return str(answer["ResponseMetadata"]["RequestId"])


def client_of(subject: House, service: str) -> Any:
    """A boto3 client of a service beside Lambda."""
    return boto3.client(
        service,
        endpoint_url=subject.variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=subject.variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=subject.variables["AWS_SECRET_ACCESS_KEY"],
        region_name=subject.variables["AWS_REGION"],
        config=Config(proxies={}),
    )


def told(subject: House, *command: str) -> Any:
    return json.loads(subject.command(*command, "--json"))


def state(subject: House, identity: str) -> str:
    page = subject.http("GET", f"/_hearth/invocations/{identity}", is_signed=True)
    return str(json.loads(page.body)["state"])


@contextmanager
def site() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A webhook on loopback: its URL, and what it was sent. It fails the first call."""
    seen: list[tuple[dict[str, str], bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((dict(self.headers.items()), body))
            self.send_response(503 if len(seen) == 1 else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/in", seen
        server.shutdown()
        thread.join(10)


def test_every_event_that_was_accepted_is_handled_though_hearth_is_killed(subject: House, witness: Witness) -> None:
    name = subject.create("survivor", TELL, variables={"WITNESS": witness.address})
    accepted: list[int] = []
    api = subject.client(retries={"total_max_attempts": 1})
    for number in range(EVENTS):
        if number % (EVENTS // KILLS) == EVENTS // KILLS // 2:
            subject.kill()
            subject.up()
        api.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"n": number}).encode())
        accepted.append(number)
    handled: Callable[[], Counter[str]] = lambda: Counter(witness.lines())  # noqa: E731 - asked again and again
    eventually(lambda: set(handled()) >= {str(number) for number in accepted}, "every event is handled", 90)
    repeated = sum(handled().values()) - len(accepted)
    print(f"{repeated} of {len(accepted)} events ran more than once", flush=True)
    boxes = {one["box"]: one["count"] for one in told(subject, "dead-letters", "boxes")}
    assert boxes.get(f"function/{name}", 0) == 0


def test_an_end_is_told_to_destinations_of_every_kind(subject: House, witness: Witness, redis_url: str) -> None:
    listener = subject.create(
        "listener",
        CLIENT + "def handler(event, context):\n    tell(event['requestContext']['condition'])\n",
        variables={"WITNESS": witness.address},
    )
    region = subject.variables["AWS_REGION"]
    key, dead = unique("records"), unique("dlq")
    fine = subject.create("fine", "def handler(event, context):\n    return {'done': event}\n")
    arn = subject.api.get_function(FunctionName=listener)["Configuration"]["FunctionArn"]
    subject.api.put_function_event_invoke_config(
        FunctionName=fine, DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    failing = subject.create("failing", FAIL, DeadLetterConfig={"TargetArn": subject.queue_arn(dead)})
    target = f"arn:hearth:redis:{region}:000000000000:{CONNECTION}/list/{key}"
    subject.api.put_function_event_invoke_config(
        FunctionName=failing, MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": target}}
    )
    asynchronously(subject, fine, {"n": 1})
    identity = asynchronously(subject, failing, {"n": 2})
    eventually(lambda: witness.lines() == ["Success"], "the other function has the record")
    with redis.Redis.from_url(redis_url) as store:
        eventually(lambda: store.llen(key) == 1, "the list has the record")
        record = json.loads(store.lindex(key, 0))
    assert record["requestContext"]["requestId"] == identity
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["responsePayload"]["errorMessage"] == "boom"
    sqs = client_of(subject, "sqs")
    url = sqs.get_queue_url(QueueName=dead)["QueueUrl"]
    letters = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, MessageAttributeNames=["All"])["Messages"]
    assert json.loads(letters[0]["Body"]) == {"n": 2}
    attributes = {name: one["StringValue"] for name, one in letters[0]["MessageAttributes"].items()}
    assert attributes == {"RequestID": identity, "ErrorCode": "200", "ErrorMessage": "boom"}
    shown = told(subject, "invocations", "show", identity)
    assert (shown["state"], shown["attempts"], shown["error"]["errorMessage"]) == ("failed", 2, "boom")
    assert set(shown["results"]) == {target, subject.queue_arn(dead)}


def test_a_webhook_is_called_until_it_takes_the_record_and_can_tell_who_calls(subject: House) -> None:
    name = subject.create("caller", "def handler(event, context):\n    return 1\n")
    region = subject.variables["AWS_REGION"]
    hook = unique("hook")
    with site() as (url, seen):
        subject.command("webhooks", "add", hook, url, "--secret", "s3cret")
        subject.api.put_function_event_invoke_config(
            FunctionName=name,
            DestinationConfig={"OnSuccess": {"Destination": f"arn:hearth:webhook:{region}:000000000000:{hook}"}},
        )
        asynchronously(subject, name, {})
        eventually(lambda: len(seen) == 2, "the webhook was called twice")
    assert seen[0][1] == seen[1][1]
    headers, body = seen[1]
    moment, _, sent = headers["X-Hearth-Signature"].removeprefix("t=").partition(",v1=")
    assert hmac.new(b"s3cret", f"{moment}.".encode() + body, hashlib.sha256).hexdigest() == sent
    assert "s3cret" not in subject.command("webhooks", "list")


def test_dead_letters_go_back_after_the_function_is_mended_though_hearth_is_killed(
    subject: House, witness: Witness
) -> None:
    name = subject.create("broken", FAIL, variables={"WITNESS": witness.address})
    subject.api.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    for number in range(40):
        asynchronously(subject, name, {"n": number})
    box = f"function/{name}"
    boxes: Callable[[], dict[str, int]] = lambda: {  # noqa: E731 - asked again and again
        one["box"]: one["count"] for one in told(subject, "dead-letters", "boxes")
    }
    eventually(lambda: boxes().get(box) == 40, "every event is a dead letter")
    letters = told(subject, "dead-letters", "list", box)
    whole = told(subject, "dead-letters", "show", box, letters[0]["id"])
    assert json.loads(whole["payload"])["n"] in range(40)
    assert (whole["reason"], whole["error"]["errorMessage"], whole["attempts"]) == ("RetriesExhausted", "boom", 1)
    subject.replace_code(name, TELL)
    begun = told(subject, "dead-letters", "redrive", box, "--rate", "10", "--no-wait")
    eventually(lambda: len(witness.lines()) >= 10, "the redrive is under way")
    subject.kill()
    subject.up()
    eventually(lambda: len(set(witness.lines())) == 40, "every letter is handled")
    eventually(lambda: box not in boxes(), "the box is empty")
    states = {one["id"]: one["state"] for one in told(subject, "dead-letters", "redrives")}
    eventually(
        lambda: told(subject, "dead-letters", "redrives")[0]["state"] == "completed", f"{begun['id']} is over: {states}"
    )


def test_one_that_waits_can_be_cancelled_and_a_key_is_good_for_one_event(subject: House, witness: Witness) -> None:
    name = subject.create("slow", "import time\n" + TELL.replace("    tell(", "    time.sleep(8)\n    tell("))
    subject.api.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"WITNESS": witness.address}}
    )
    subject.settled(name)
    subject.api.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    first = asynchronously(subject, name, {"n": 1})
    eventually(lambda: state(subject, first) == "running", "the first runs")
    second = asynchronously(subject, name, {"n": 2}, key="order-7")
    assert state(subject, second) == "queued"
    subject.command("invocations", "cancel", second)
    subject.kill()
    subject.up()
    assert asynchronously(subject, name, {"n": 2}, key="order-7") == second
    eventually(lambda: state(subject, first) == "succeeded", "the first is over", 60)
    assert state(subject, second) == "cancelled"
    assert "2" not in witness.lines()


def test_a_topic_without_permission_leaves_a_letter_that_says_what_is_missing(subject: House, witness: Witness) -> None:
    name = subject.create(
        "subscriber",
        CLIENT + "def handler(event, context):\n    tell('heard')\n",
        variables={"WITNESS": witness.address},
    )
    arn = subject.api.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    sns = client_of(subject, "sns")
    topic = sns.create_topic(Name=unique("news"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    sns.publish(TopicArn=topic, Message="one")
    box = f"function/{name}"
    eventually(
        lambda: any(one["box"] == box for one in told(subject, "dead-letters", "boxes")), "the event is a dead letter"
    )
    letter = told(subject, "dead-letters", "list", box)[0]
    assert letter["reason"] == "NotPermitted"
    assert "add-permission" in letter["error"]["errorMessage"]
    subject.api.add_permission(
        FunctionName=name,
        StatementId="topic",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    subject.command("dead-letters", "redrive", box)
    eventually(lambda: witness.lines() == ["heard"], "the event is handled after all")
