"""Hooks as their senders see them: signed deliveries over plain HTTP, object stores, and a daemon that is killed."""

import hashlib
import hmac
import json
import secrets
from typing import Any

import docker
import pytest
import redis
from tests.docker.house import House, Page, eventually, house, unique
from tests.docker.witness import CLIENT, Witness
from tests.docker.witness import witness as listening

pytestmark = pytest.mark.docker

DELIVERIES = 60
KILL_EVERY = 20
TELL_BODY = CLIENT + "def handler(event, context):\n    tell(event['body'])\n"
TELL_KEYS = CLIENT + (
    "from urllib.parse import unquote_plus\n"
    "def handler(event, context):\n"
    "    for one in event['Records']:\n"
    "        tell(one['eventSource'] + ' ' + one['eventName'] + ' ' + unquote_plus(one['s3']['object']['key']))\n"
)


def hook(subject: House, style: str, target: str, *more: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(
        subject.command("hooks", "create", unique("hook"), "--style", style, "--target", target, "--json", *more)
    )
    return made


def deliver(subject: House, to: dict[str, Any], body: bytes, secret: str | None = None) -> Page:
    """A delivery as GitHub makes it."""
    signature = hmac.new((secret or to["secret"]).encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": secrets.token_hex(8),
        "X-Hub-Signature-256": f"sha256={signature}",
    }
    return subject.http("POST", f"/hooks/{to['name']}", headers, body)


def minio_record(key: str) -> dict[str, Any]:
    return {
        "eventName": "s3:ObjectCreated:Put",
        "eventSource": "minio:s3",
        "awsRegion": "",
        "eventTime": "2026-11-21T10:00:00Z",
        "s3": {"bucket": {"name": "pictures"}, "object": {"key": key, "sequencer": secrets.token_hex(8)}},
    }


def test_a_signed_delivery_runs_the_function_and_another_does_not(hearth: House, witness: Witness) -> None:
    name = hearth.create("hooked", TELL_BODY, variables={"WITNESS": witness.address})
    made = hook(hearth, "github", name)
    assert deliver(hearth, made, b'{"n":1}').status == 202
    eventually(lambda: witness.lines() == ['{"n":1}'], "the function has the delivery")
    assert deliver(hearth, made, b'{"n":2}', secret="not the secret").status == 401
    assert hearth.http("POST", f"/hooks/{made['name']}", {}, b"x" * 1_048_577).status == 413
    rotated = json.loads(hearth.command("hooks", "rotate", made["name"], "--json"))
    for secret in (made["secret"], rotated["secret"]):
        assert deliver(hearth, made, b'{"n":3}', secret=secret).status == 202
    hearth.command("hooks", "delete", made["name"])
    assert deliver(hearth, made, b'{"n":4}').status == 404
    eventually(lambda: sorted(witness.lines()) == ['{"n":1}', '{"n":3}', '{"n":3}'], "nothing else came through")


def test_what_minio_tells_reaches_the_function_as_an_event_of_s3(
    hearth: House, witness: Witness, store: "redis.Redis"
) -> None:
    name = hearth.create("objects", TELL_KEYS, variables={"WITNESS": witness.address})
    hearth.api.add_permission(
        FunctionName=name,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::pictures",
    )
    made = hook(hearth, "minio", name, "--bucket", "pictures", "--key-suffix", ".jpg")
    bearer = {"Authorization": f"Bearer {made['secret']}"}
    for key in ("by+webhook%2Fa.jpg", "not-wanted.txt"):
        body = {"EventName": "s3:ObjectCreated:Put", "Key": f"pictures/{key}", "Records": [minio_record(key)]}
        page = hearth.http("POST", f"/hooks/{made['name']}", bearer, json.dumps(body).encode())
        assert page.status == (202 if key.endswith(".jpg") else 200)
    eventually(lambda: len(witness.lines()) == 1, "the webhook's event is handled")
    queue = unique("minio")
    hearth.map_queue(name, hearth.queue_arn(queue), Tags={"hearth:shape": "s3"})
    event = [{"Event": [minio_record("by+list%2Fb.jpg")], "EventTime": "2026-11-21T10:00:00Z"}]
    store.rpush(queue, json.dumps(event))
    expected = [f"aws:s3 ObjectCreated:Put {key}" for key in ("by webhook/a.jpg", "by list/b.jpg")]
    eventually(lambda: witness.lines() == expected, "the list's event is handled")


def test_no_delivery_that_was_taken_is_lost_when_the_daemon_is_killed(docker_engine: docker.DockerClient) -> None:
    with house(docker_engine) as subject, listening(subject.gateway()) as witness:
        name = subject.create("hooked", TELL_BODY, variables={"WITNESS": witness.address})
        made = hook(subject, "github", name)
        expected = set()
        for number in range(DELIVERIES):
            body = f'{{"n":{number}}}'
            assert deliver(subject, made, body.encode()).status == 202
            expected.add(body)
            if number % KILL_EVERY == KILL_EVERY - 1:
                subject.kill()
                subject.up()
        eventually(lambda: set(witness.lines()) == expected, "every delivery was handled", 120)
