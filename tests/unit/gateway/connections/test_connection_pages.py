"""The page of connections: who may, what is shown, and what never is."""

from typing import Any

import orjson
import pytest

from hearth.connections import ConnectionBook
from hearth.core import identity
from hearth.core.auth_errors import NotAuthorized
from hearth.core.errors import HearthError, InvalidParameterValue, InvalidRequestContent, UnknownOperation
from hearth.core.policy_document import parse_policy
from hearth.registry import Registry
from hearth.sealing import Sealer
from hearth.testing import InMemoryStore
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.auth.gate import Gate
from hearth_gateway.connection_pages import PREFIX, ConnectionPages
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.durability import ServerFacts
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.sources.ports import QueueUnavailable

REGION, ACCOUNT = "us-east-1", "000000000000"
PLACE = Place(REGION, ACCOUNT)
ROOT = Caller(identity.root(ACCOUNT), "lambda", REGION, "127.0.0.1")
URL = "redis://u:s3cret@h:1"


class ScriptedChecks:
    def __init__(self) -> None:
        self.facts: ServerFacts | None = ServerFacts("8.0.2", "master", appendonly=True, appendfsync="everysec")
        self.asked: list[str] = []

    async def redis(self, name: str) -> ServerFacts:
        self.asked.append(f"redis {name}")
        if self.facts is None:
            raise QueueUnavailable("ConnectionError: refused")
        return self.facts

    async def sqs(self, name: str) -> None:
        self.asked.append(f"sqs {name}")


class Desk:
    def __init__(self) -> None:
        self.book = ConnectionBook(InMemoryStore(), Sealer(b"k" * 32), {"fixed": "redis://:s3cret@f"})
        self.checks = ScriptedChecks()
        gate = Gate(Registry(InMemoryStore()), PLACE, clock=lambda: 0.0)
        self.pages = ConnectionPages(self.book, self.checks, gate, PLACE, clock=lambda: 100.0)

    async def ask(self, method: str, path: str = "", body: Any = None, caller: Caller = ROOT) -> ApiResponse:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        answer = await self.pages.respond(method, PREFIX + path, {}, body=raw, caller=caller)
        assert b"s3cret" not in answer.body
        return answer


def user(*actions: str, on: str = "*") -> Caller:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": on}
    policy = parse_policy(orjson.dumps({"Version": "2012-10-17", "Statement": [statement]}).decode())
    return Caller(identity.user(ACCOUNT, "me", (policy,)), "lambda", REGION, "127.0.0.1")


async def test_a_connection_is_made_shown_masked_changed_and_removed() -> None:
    desk = Desk()
    assert (await desk.ask("PUT", "/a", {"url": URL})).status == 201
    assert (await desk.ask("PUT", "/a", {"url": "redis://u:s3cret@h:2"})).status == 200
    desk.book.users_of = lambda name: ["somebody"] if name == "fixed" else []
    shown = orjson.loads((await desk.ask("GET")).body)
    assert shown == [
        {"name": "a", "url": "redis://u:****@h:2/0", "origin": "command", "created_s": 100, "used_by": []},
        {
            "name": "fixed",
            "url": "redis://:****@f:6379/0",
            "origin": "configuration",
            "created_s": 0,
            "used_by": ["somebody"],
        },
    ]
    assert (await desk.ask("DELETE", "/a")).status == 204
    assert list(desk.book) == ["fixed"]


async def test_a_test_says_what_survives() -> None:
    desk = Desk()
    found = orjson.loads((await desk.ask("POST", "/fixed/test")).body)
    assert (found["ok"], found["version"], found["role"], found["kind"]) == (True, "8.0.2", "master", "redis")
    assert "WAITAOF" in found["durability"]
    desk.checks.facts = None
    found = orjson.loads((await desk.ask("POST", "/fixed/test")).body)
    assert (found["ok"], found["error"]) == (False, "ConnectionError: refused")


async def test_an_sqs_is_asked_as_an_sqs() -> None:
    desk = Desk()
    await desk.ask("PUT", "/q", {"url": "sqs+http://k:s3cret@h:9324/eu-west-1"})
    assert orjson.loads((await desk.ask("POST", "/q/test")).body)["kind"] == "sqs"
    assert desk.checks.asked == ["sqs q"]


@pytest.mark.parametrize(
    ("method", "path", "body", "error"),
    [
        ("PUT", "/a", b"no json s3cret", InvalidRequestContent),
        ("PUT", "/a", {"url": URL, "more": "s3cret"}, InvalidRequestContent),
        ("PUT", "/a", {"url": ["s3cret"]}, InvalidRequestContent),
        ("PUT", "/a", {"url": "s3cret"}, InvalidParameterValue),
        ("PUT", "/hearth", {"url": URL}, InvalidParameterValue),
        ("PUT", "/a%2Fb", {"url": URL}, InvalidParameterValue),
        ("PUT", "", {"url": URL}, UnknownOperation),
        ("POST", "/a", {}, UnknownOperation),
        ("GET", "/a/b/c", {}, UnknownOperation),
    ],
)
async def test_what_is_wrong_is_refused_without_the_secret(
    method: str, path: str, body: Any, error: type[HearthError]
) -> None:
    with pytest.raises(error) as refused:
        await Desk().ask(method, path, body)
    assert "s3cret" not in refused.value.message


async def test_only_who_may_does() -> None:
    desk = Desk()
    with pytest.raises(NotAuthorized):
        await desk.ask("GET", caller=user("lambda:*"))
    with pytest.raises(NotAuthorized):
        await desk.ask("PUT", "/b", {"url": URL}, caller=user("hearth:ListConnections"))
    mine = user("hearth:*", on=f"arn:hearth:connection:{REGION}:{ACCOUNT}:a")
    await desk.ask("PUT", "/a", {"url": URL}, caller=mine)
    await desk.ask("POST", "/a/test", caller=mine)
    for method, path in (("PUT", "/b"), ("DELETE", "/fixed"), ("POST", "/fixed/test")):
        with pytest.raises(NotAuthorized):
            await desk.ask(method, path, {"url": URL}, caller=mine)
    await desk.ask("DELETE", "/a", caller=mine)
