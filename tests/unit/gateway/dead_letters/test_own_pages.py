"""The pages of invocations, dead letters and webhooks: who may, what is shown, and what never is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from tests.unit.gateway.dead_letters.test_redrives import Kept, ListedBox, letter
from tests.unit.gateway.served import record

from hearth.core import identity
from hearth.core.auth_errors import NotAuthorized
from hearth.core.errors import (
    HearthError,
    InvalidParameterValue,
    InvalidRequestContent,
    ResourceConflict,
    ResourceNotFound,
    ServiceError,
    UnknownOperation,
)
from hearth.core.function import FunctionName
from hearth.core.policy_document import parse_policy
from hearth.registry import Registry
from hearth.sealing import Sealer
from hearth.testing import InMemoryStore
from hearth_gateway import invocation_pages, webhook_pages
from hearth_gateway.asynchronous.dispatcher import AsyncInvocations
from hearth_gateway.asynchronous.posting import DurableCourier
from hearth_gateway.asynchronous.testing import InMemoryDeliveries, InMemoryEvents
from hearth_gateway.asynchronous.webhook_book import WebhookBook
from hearth_gateway.auth.authentication import Caller
from hearth_gateway.auth.gate import Gate
from hearth_gateway.core.async_event import AsyncEvent
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.operations import ApiResponse
from hearth_gateway.dead_letters import pages
from hearth_gateway.dead_letters.ports import Box, BoxUnavailable
from hearth_gateway.dead_letters.redrives import Redrives
from hearth_gateway.own_pages import OwnPage
from hearth_gateway.sources.testing import LoopClock
from hearth_gateway.testing import FakeScheduler

REGION, ACCOUNT = "us-east-1", "000000000000"
PLACE = Place(REGION, ACCOUNT)
ROOT = Caller(identity.root(ACCOUNT), "lambda", REGION, "127.0.0.1")
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:hello"


def user(*actions: str, on: str = "*") -> Caller:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": on}
    policy = parse_policy(orjson.dumps({"Version": "2012-10-17", "Statement": [statement]}).decode())
    return Caller(identity.user(ACCOUNT, "me", (policy,)), "lambda", REGION, "127.0.0.1")


class AwayBox(ListedBox):
    async def count(self) -> int:
        raise BoxUnavailable("down")


class TwoBoxes:
    """A box of a function, and one whose server is away."""

    def __init__(self) -> None:
        self.of_function = ListedBox([letter("id-1"), letter("id/2")])

    async def names(self) -> list[str]:
        return ["function/hello", "list/away/x"]

    def open(self, name: str) -> Box:
        match name:
            case "function/hello":
                return self.of_function
            case "list/away/x":
                return AwayBox()
            case _:
                raise ResourceNotFound(name)


@dataclass
class Desk:
    page: OwnPage
    prefix: str

    async def ask(
        self, method: str, path: str = "", body: Any = None, *, caller: Caller = ROOT, **query: str
    ) -> ApiResponse:
        raw = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        given = {name: [value] for name, value in query.items()}
        return await self.page.respond(method, self.prefix + path, given, body=raw, caller=caller)

    async def told(self, *arguments: Any, **named: Any) -> Any:
        return orjson.loads((await self.ask(*arguments, **named)).body)


def gate() -> Gate:
    return Gate(Registry(InMemoryStore()), PLACE, clock=lambda: 0.0)


@asynccontextmanager
async def dead_letters() -> AsyncIterator[tuple[Desk, TwoBoxes]]:
    boxes = TwoBoxes()
    async with Redrives(Kept(), boxes, LoopClock()) as redrives:
        page = pages.DeadLetterPages(boxes, redrives, gate(), PLACE, new_id=lambda: "r-1")
        yield Desk(page, pages.PREFIX), boxes


BOX = "/" + quote("function/hello", safe="")


async def test_boxes_are_listed_with_their_counts_and_one_that_is_away_says_so() -> None:
    async with dead_letters() as (desk, _):
        assert (await desk.told("GET"))["boxes"] == [
            {"box": "function/hello", "count": 2},
            {"box": "list/away/x", "count": None, "error": "down"},
        ]


async def test_letters_come_in_pages_without_payloads_and_one_comes_whole() -> None:
    async with dead_letters() as (desk, _):
        first = await desk.told("GET", BOX, limit="1")
        assert ([one["id"] for one in first["letters"]], first["next"]) == (["id-1"], 1)
        assert "payload" not in first["letters"][0]
        rest = await desk.told("GET", BOX, after="1")
        assert ([one["id"] for one in rest["letters"]], rest["next"]) == (["id/2"], None)
        whole = await desk.told("GET", f"{BOX}/{quote('id/2', safe='')}")
        assert (whole["payload"], whole["encoding"]) == ("{}", "utf-8")
        with pytest.raises(ResourceNotFound):
            await desk.ask("GET", f"{BOX}/nobody")


async def test_a_redrive_is_begun_found_and_over() -> None:
    async with dead_letters() as (desk, boxes):
        begun = await desk.ask("POST", BOX, {"ids": ["id-1", "id-1"], "per_second": 5})
        assert (begun.status, orjson.loads(begun.body)["total"]) == (202, 1)
        redrives = Desk(desk.page, pages.REDRIVES)
        while (await redrives.told("GET", "/r-1"))["state"] == "running":
            await LoopClock().pause(0.05)
        assert [one["moved"] for one in (await redrives.told("GET"))["redrives"]] == [1]
        assert boxes.of_function.sent == ["id-1"]
        with pytest.raises(ResourceConflict):
            await redrives.ask("DELETE", "/r-1")


@pytest.mark.parametrize("body", [b"{", {"ids": []}, {"per_second": 0}, {"what": 1}, {"ids": "id-1"}])
async def test_what_is_no_redrive_is_refused(body: Any) -> None:
    async with dead_letters() as (desk, _):
        with pytest.raises(InvalidRequestContent):
            await desk.ask("POST", BOX, body)


async def test_a_box_that_is_away_is_an_error_of_the_platform() -> None:
    async with dead_letters() as (desk, _):
        with pytest.raises(ServiceError):
            await desk.ask("POST", "/" + quote("list/away/x", safe=""))


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [("GET", BOX, "List"), ("GET", f"{BOX}/id-1", "Show"), ("POST", BOX, "Redrive"), ("DELETE", BOX, "Purge")],
)
async def test_each_deed_has_its_action_on_the_box(method: str, path: str, action: str) -> None:
    arn = f"arn:hearth:dead-letters:{REGION}:{ACCOUNT}:function/hello"
    async with dead_letters() as (desk, _):
        assert (await desk.ask(method, path, caller=user(f"hearth:{action}DeadLetters", on=arn))).status in (200, 202)
        others = {"List", "Show", "Redrive", "Purge"} - {action}
        with pytest.raises(NotAuthorized):
            await desk.ask(method, path, caller=user(*(f"hearth:{other}DeadLetters" for other in others)))


async def test_boxes_that_one_may_not_look_into_are_not_listed() -> None:
    arn = f"arn:hearth:dead-letters:{REGION}:{ACCOUNT}:function/*"
    async with dead_letters() as (desk, _):
        found = await desk.told("GET", caller=user("hearth:ListDeadLetters", on=arn))
        assert [one["box"] for one in found["boxes"]] == ["function/hello"]


@asynccontextmanager
async def invocations() -> AsyncIterator[Desk]:
    registry, queue = Registry(InMemoryStore()), InMemoryEvents()
    await registry.put(record("hello"))
    courier = DurableCourier(InMemoryDeliveries(queue.memory), PLACE, new_trace=str)
    events = AsyncInvocations(queue, registry, FakeScheduler(), LoopClock(), courier=courier, chance=lambda: 0.5)
    for number in (1, 2):
        event = AsyncEvent(f"id-{number}", FunctionName("hello"), "", FUNCTION, b'{"secret":1}', "", number)
        await queue.accept(event, number)
    yield Desk(invocation_pages.InvocationPages(events, gate(), PLACE), invocation_pages.PREFIX)


async def test_invocations_are_listed_shown_and_cancelled_and_no_payload_is_seen() -> None:
    async with invocations() as desk:
        listed = await desk.ask("GET", function="hello", limit="1")
        assert b"secret" not in listed.body
        found = orjson.loads(listed.body)
        assert ([one["id"] for one in found["invocations"]], found["next"]) == (["id-1"], 1)
        assert (await desk.told("GET", "/id-2"))["state"] == "queued"
        assert (await desk.ask("DELETE", "/id-2")).status == 204
        assert (await desk.told("GET", "/id-2"))["state"] == "cancelled"
        assert [one["id"] for one in (await desk.told("GET", function="hello", state="cancelled"))["invocations"]] == [
            "id-2"
        ]
        with pytest.raises(ResourceConflict):
            await desk.ask("DELETE", "/id-2")


async def test_seeing_takes_the_right_to_get_the_function_and_cancelling_to_invoke_it() -> None:
    async with invocations() as desk:
        seeing, invoking = user("lambda:GetFunction", on=FUNCTION), user("lambda:InvokeFunction", on=FUNCTION)
        await desk.ask("GET", "/id-1", caller=seeing)
        await desk.ask("GET", caller=seeing, function="hello")
        for method, caller in (("GET", invoking), ("DELETE", seeing)):
            with pytest.raises(NotAuthorized):
                await desk.ask(method, "/id-1", caller=caller)
        await desk.ask("DELETE", "/id-1", caller=invoking)


@pytest.mark.parametrize("query", [{}, {"function": "hello", "state": "x"}, {"function": "hello", "limit": "-1"}])
async def test_what_makes_no_sense_is_refused(query: dict[str, str]) -> None:
    async with invocations() as desk:
        with pytest.raises(InvalidParameterValue):
            await desk.page.respond(
                "GET", desk.prefix, {name: [value] for name, value in query.items()}, body=b"", caller=ROOT
            )
        with pytest.raises(UnknownOperation):
            await desk.ask("PUT", "/id-1")


async def test_a_webhook_is_registered_and_its_secrets_are_never_shown() -> None:
    book = WebhookBook(Kept(), Sealer(b"k" * 32))
    desk = Desk(webhook_pages.WebhookPages(book, gate(), PLACE, clock=lambda: 5.0), webhook_pages.PREFIX)
    wanted = {"url": "https://example.org/t0p", "secret": "s3cret"}
    answers = [await desk.ask("PUT", "/hook", wanted), await desk.ask("PUT", "/hook", wanted), await desk.ask("GET")]
    assert [one.status for one in answers] == [201, 200, 200]
    assert not any(secret in one.body for one in answers for secret in (b"t0p", b"s3cret"))
    for body in (b"{", {"url": 1, "secret": "s3cret"}, {"url": "ftp://s3cret"}):
        with pytest.raises(HearthError) as refused:
            await desk.ask("PUT", "/hook", body)
        assert "s3cret" not in str(refused.value)
    for method, path in (("GET", ""), ("PUT", "/hook"), ("DELETE", "/hook")):
        with pytest.raises(NotAuthorized):
            await desk.ask(method, path, wanted, caller=user("lambda:*"))
    assert (await desk.ask("DELETE", "/hook")).status == 204
