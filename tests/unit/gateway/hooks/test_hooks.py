"""The public door of hooks, and the page that makes them."""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from hearth.core.auth_errors import NotAuthorized
from hearth.core.errors import HearthError
from hearth.core.identity import Principal, root, user
from hearth.core.policy import parse_policy
from hearth.registry import Registry
from hearth.sealing import KEY_BYTES, Sealer
from hearth.testing import InMemoryStore
from hearth_gateway.asynchronous.testing import RecordingCourier
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.http_event import HttpRequest
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.hooks.book import HookBook
from hearth_gateway.hooks.door import MAX_AT_ONCE, HookDoor
from hearth_gateway.hooks.pages import HookPages
from hearth_gateway.topics.testing import InMemoryDeduplication

PLACE = Place("us-east-1", "000000000000")
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
NOW_S = 1_795_000_000
SECRET = "a-secret-of-ours"
ADMIN = Caller(root("000000000000"), "lambda", "us-east-1", "127.0.0.1")


@dataclass
class Yard:
    """Hooks over an empty store. `answer` says what the page answered last."""

    store: InMemoryStore = field(default_factory=InMemoryStore)
    courier: RecordingCourier = field(default_factory=RecordingCourier)
    now_s: int = NOW_S

    def __post_init__(self) -> None:
        self.book = HookBook(self.store, Sealer(b"k" * KEY_BYTES))
        memory = InMemoryDeduplication(lambda: self.now_s * 1000, 660_000)
        clock = lambda: self.now_s * 1000  # noqa: E731 - it reads the clock as it is then
        self.door = HookDoor(self.book, self.courier, memory, clock, region="us-east-1", port=9400)
        gate = Gate(Registry(InMemoryStore()), PLACE, clock=lambda: self.now_s)
        self.pages = HookPages(self.book, gate, PLACE, "http://hearth.test", clock=lambda: self.now_s)

    async def page(self, method: str, path: str = "", body: object = None, caller: Caller = ADMIN) -> Any:
        written = b"" if body is None else json.dumps(body).encode()
        answer = await self.pages.respond(method, f"/_hearth/hooks{path}", {}, body=written, caller=caller)
        return json.loads(answer.body) if answer.body else None

    async def hook(self, style: str, target: str = FUNCTION, **more: object) -> Any:
        return await self.page("POST", body={"name": "h", "style": style, "target": target, "secret": SECRET, **more})

    async def post(self, body: bytes, headers: dict[str, str], *, name: str = "h", method: str = "POST") -> ApiResponse:
        given = (("Host", "hearth.test"), ("Content-Type", "application/json"), *headers.items())
        request = HttpRequest(method, f"/hooks/{name}", "a=1", given, body, "192.0.2.1")
        return await self.door.respond(request, f"request-{len(self.courier.parcels)}-{self.now_s}")


def github(body: bytes, delivery: str = "d-1", event: str = "push", secret: str = SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={signature}", "X-GitHub-Delivery": delivery, "X-GitHub-Event": event}


def stripe(body: bytes, at_s: int = NOW_S) -> dict[str, str]:
    signature = hmac.new(SECRET.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={at_s},v1={signature}"}


@pytest.fixture
def yard() -> Yard:
    return Yard()


async def test_a_function_gets_the_request_as_function_urls_give_it(yard: Yard) -> None:
    await yard.hook("github")
    answer = await yard.post(b'{"ref":"main"}', github(b'{"ref":"main"}'))
    (parcel,) = yard.courier.parcels
    assert (answer.status, json.loads(answer.body)) == (202, {"accepted": [parcel.id]})
    event = json.loads(parcel.body)
    assert (parcel.target, parcel.service) == (FUNCTION, "")
    assert (event["version"], event["body"], event["rawPath"]) == ("2.0", '{"ref":"main"}', "/hooks/h")
    assert event["headers"]["x-github-event"] == "push"
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["requestContext"]["hearth"] == {"hook": "h", "style": "github", "deliveryId": "d-1"}


async def test_a_queue_gets_the_body_as_it_came(yard: Yard) -> None:
    await yard.hook("github", QUEUE)
    await yard.post(b"{}", github(b"{}"))
    (parcel,) = yard.courier.parcels
    assert parcel.body == b"{}"
    assert {name: one.value for name, one in parcel.attributes.items()} == {
        "hearth.hook": "h",
        "hearth.delivery": "d-1",
        "hearth.event": "push",
        "content-type": "application/json",
    }


async def test_a_fifo_queue_gets_a_group_and_the_delivery_once(yard: Yard) -> None:
    await yard.hook("github", f"{QUEUE}.fifo")
    await yard.post(b"{}", github(b"{}"))
    (parcel,) = yard.courier.parcels
    assert (parcel.group_id, parcel.deduplication_id) == ("h", parcel.id)


async def test_what_is_not_proved_is_refused_and_nothing_is_kept(yard: Yard) -> None:
    await yard.hook("github")
    for headers in ({}, github(b"{} "), github(b"{}", secret="another-one")):
        assert (await yard.post(b"{}", headers)).status == 401
    assert (await yard.post(b"{}", github(b"{}"), name="other")).status == 404
    refused = await yard.post(b"{}", github(b"{}"), method="GET")
    assert (refused.status, refused.headers["Allow"]) == (405, "POST")
    assert yard.courier.parcels == []
    assert yard.door.health() == {"taken": 0, "refused": 3, "unkept": 0}


async def test_a_ping_is_answered_and_invokes_nothing(yard: Yard) -> None:
    await yard.hook("github")
    assert (await yard.post(b"{}", github(b"{}", event="ping"))).status == 200
    assert yard.courier.parcels == []


async def test_slack_is_given_its_challenge_back(yard: Yard) -> None:
    await yard.hook("slack")
    body = b'{"type":"url_verification","challenge":"xyz"}'
    signature = hmac.new(SECRET.encode(), f"v0:{NOW_S}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": str(NOW_S), "X-Slack-Signature": f"v0={signature}"}
    answer = await yard.post(body, headers)
    assert (answer.status, json.loads(answer.body)) == (200, {"challenge": "xyz"})
    assert (await yard.post(body, {})).status == 401


async def test_a_delivery_that_comes_again_is_the_same_parcel(yard: Yard) -> None:
    await yard.hook("github")
    for delivery in ("d-1", "d-1", "d-2"):
        assert (await yard.post(b"{}", github(b"{}", delivery))).status == 202
    assert len(yard.courier.parcels) == 2


async def test_a_replay_of_a_signed_request_does_nothing_for_as_long_as_its_time_is_good(yard: Yard) -> None:
    await yard.hook("stripe")
    body = b'{"id":"evt_1"}'
    assert (await yard.post(body, stripe(body))).status == 202
    yard.courier.parcels.clear()  # it is delivered
    yard.now_s += 300
    assert (await yard.post(body, stripe(body))).status == 200
    yard.now_s += 1
    assert (await yard.post(body, stripe(body))).status == 401
    assert yard.courier.parcels == []


async def test_a_delivery_that_could_not_be_kept_is_asked_for_again_and_then_kept(yard: Yard) -> None:
    await yard.hook("stripe")
    body = b'{"id":"evt_1"}'
    yard.courier.is_down = True
    answer = await yard.post(body, stripe(body))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    yard.courier.is_down = False
    assert (await yard.post(body, stripe(body))).status == 202
    assert len(yard.courier.parcels) == 1


async def test_too_much_at_once_is_to_come_again(yard: Yard) -> None:
    await yard.hook("github")
    yard.door._at_once["h"] = MAX_AT_ONCE
    assert (await yard.post(b"{}", github(b"{}"))).status == 429
    yard.door._at_once["h"] = MAX_AT_ONCE - 1
    assert (await yard.post(b"{}", github(b"{}"))).status == 202
    assert yard.door._at_once["h"] == MAX_AT_ONCE - 1


def minio(*keys: str) -> bytes:
    records = [
        {
            "eventName": "s3:ObjectCreated:Put",
            "s3": {"bucket": {"name": "b"}, "object": {"key": key, "sequencer": f"1{key}"}},
        }
        for key in keys
    ]
    return json.dumps({"EventName": "s3:ObjectCreated:Put", "Key": "b/x", "Records": records}).encode()


async def test_each_record_of_an_object_store_is_an_event_of_its_own_sent_by_its_bucket(yard: Yard) -> None:
    await yard.hook("minio", buckets=["b"], key_suffix=".jpg", events=["s3:ObjectCreated:*"])
    bearer = {"Authorization": f"Bearer {SECRET}"}
    for _ in range(2):
        assert (await yard.post(minio("1.jpg", "2.jpg", "3.txt"), bearer)).status == 202
    assert [json.loads(one.body)["Records"][0]["s3"]["object"]["key"] for one in yard.courier.parcels] == [
        "1.jpg",
        "2.jpg",
    ]
    assert {(one.sender, one.service) for one in yard.courier.parcels} == {("arn:aws:s3:::b", "s3.amazonaws.com")}
    assert (await yard.post(minio("3.txt"), bearer)).status == 200
    assert (await yard.post(b"{}", bearer)).status == 400
    assert (await yard.post(minio("4.jpg"), {"Authorization": "Bearer wrong"})).status == 401


async def test_a_secret_is_made_shown_once_and_lies_in_the_store_sealed(yard: Yard) -> None:
    made = await yard.page("POST", body={"name": "h", "style": "github", "target": FUNCTION})
    assert (made["url"], len(made["secret"])) == ("http://hearth.test/hooks/h", 64)
    for shown in (await yard.page("GET", "/h"), *(await yard.page("GET"))):
        assert "secret" not in shown
    assert made["secret"].encode() not in yard.store.records["h"]
    assert made["secret"] not in repr(yard.book.get("h"))
    again = HookBook(yard.store, Sealer(b"k" * KEY_BYTES))
    await again.load()
    assert again.get("h").secrets(0) == (made["secret"],)


async def test_a_secret_of_ones_own_is_not_told_back(yard: Yard) -> None:
    assert "secret" not in await yard.hook("github")
    assert "secret" not in await yard.page("POST", "/h/rotate", {"secret": "another-secret"})


async def test_a_secret_of_another_installation_opens_nothing(yard: Yard) -> None:
    await yard.hook("github")
    other = HookBook(yard.store, Sealer(b"x" * KEY_BYTES))
    await other.load()
    assert other.find("h") is None


async def test_during_a_rotation_both_secrets_are_good(yard: Yard) -> None:
    await yard.hook("github")
    made = await yard.page("POST", "/h/rotate", {"keep_s": 60})
    for secret, expected in ((SECRET, 202), (made["secret"], 202), ("neither", 401)):
        assert (await yard.post(b"{}", github(b"{}", secret=secret))).status == expected
    yard.now_s += 60
    assert (await yard.post(b"{}", github(b"{}"))).status == 401
    assert (await yard.post(b"{}", github(b"{}", secret=made["secret"]))).status == 202


async def test_a_deleted_hook_is_nowhere(yard: Yard) -> None:
    await yard.hook("github")
    await yard.page("DELETE", "/h")
    assert (await yard.post(b"{}", github(b"{}"))).status == 404
    with pytest.raises(HearthError):
        await yard.page("DELETE", "/h")


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": "a/b"},
        {"style": "carrier-pigeon"},
        {"target": "f"},
        {"target": "arn:hearth:redis:us-east-1:000000000000:hearth/list/hearth:functions"},
        {"target": "arn:aws:events:us-east-1:000000000000:event-bus/default"},
        {"secret": "short"},
        {"style": "standard", "secret": "whsec_not base64 at all"},
        {"style": "none"},
        {"buckets": ["b"]},
        {"header": "X-Other"},
        {"style": "generic", "header": "not a header"},
        {"unknown": 1},
    ],
)
async def test_what_cannot_be_a_hook_is_refused_without_a_word_of_its_secret(
    yard: Yard, wanted: dict[str, Any]
) -> None:
    secret = wanted.get("secret", SECRET)
    body = {"name": "h", "style": "github", "target": FUNCTION, "secret": secret, **wanted}
    with pytest.raises(HearthError) as refused:
        await yard.page("POST", body=body)
    assert (refused.value.status, yard.book.hooks()) == (400, [])
    assert secret not in refused.value.message


async def test_a_name_is_taken_once(yard: Yard) -> None:
    await yard.hook("github")
    with pytest.raises(HearthError) as refused:
        await yard.hook("stripe")
    assert refused.value.status == 409


async def test_who_makes_a_hook_needs_the_right_to_its_target() -> None:
    statement = {"Effect": "Allow", "Action": ["hearth:*", "sqs:SendMessage"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    yard = Yard()
    keys = _user(policy)
    bob = Caller(keys, "lambda", "us-east-1", "192.0.2.1")
    await yard.page("POST", body={"name": "q", "style": "none", "target": QUEUE}, caller=bob)
    with pytest.raises(NotAuthorized, match="lambda:InvokeFunction"):
        await yard.page("POST", body={"name": "f", "style": "none", "target": FUNCTION}, caller=bob)
    denied = json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Effect": "Deny", "Resource": QUEUE}]})
    eve = Caller(_user(policy, denied), "lambda", "us-east-1", "192.0.2.1")
    for name in (QUEUE, ":".join([*QUEUE.split(":")[:3], "eu-west-1", *QUEUE.split(":")[4:]])):
        with pytest.raises(NotAuthorized, match="sqs:SendMessage"):
            await yard.page("POST", body={"name": "e", "style": "none", "target": name}, caller=eve)
    nobody = Caller(_user(), "lambda", "us-east-1", "192.0.2.1")
    for method, path in (("GET", ""), ("GET", "/q"), ("DELETE", "/q"), ("POST", "/q/rotate")):
        with pytest.raises(NotAuthorized, match="hearth:"):
            await yard.page(method, path, caller=nobody)


def _user(*policies: str) -> Principal:
    return user("000000000000", "bob", tuple(map(parse_policy, policies)))


async def test_a_large_body_is_proved_as_well_as_a_small_one(yard: Yard) -> None:
    await yard.hook("github", QUEUE)
    body = b"x" * 300_000
    assert (await yard.post(body, github(body))).status == 202
    assert (await yard.post(body + b"y", github(body))).status == 401
