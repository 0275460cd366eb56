"""Webhooks that Hearth calls: a real server on loopback, and where none may go."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from hearth.core.errors import InvalidParameterValue, ResourceNotFound
from hearth.sealing import Sealer
from hearth_gateway.adapters.webhook_client import WebhookTarget
from hearth_gateway.asynchronous.ports import TargetRefused, TargetUnavailable
from hearth_gateway.asynchronous.webhook_book import WebhookBook
from hearth_gateway.core.parcel import Parcel
from hearth_gateway.core.webhook import Webhook, is_inside, judge, retry_after_s, shown_target, shown_url, signature

NOW_S = 1_763_717_405.0
ARN = "arn:hearth:webhook:us-east-1:000000000000:hook"


class Site:
    """Answers as it is told, and remembers what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[Mapping[str, str], bytes]] = []
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.seen.append((request.headers, await request.read()))
        return web.Response(status=self.status, headers=self.headers, text="secret")


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    answers = Site()
    runner = web.ServerRunner(web.Server(answers.handle))
    await runner.setup()
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    answers.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield answers
    finally:
        await runner.cleanup()


@asynccontextmanager
async def target(url: str, *, secret: str = "", reaches_inside: bool = True) -> AsyncIterator[WebhookTarget]:
    known = {"hook": Webhook("hook", url, secret)}
    found = WebhookTarget(known.get, lambda: NOW_S, reaches_inside=reaches_inside)
    try:
        yield found
    finally:
        await found.close()


def parcel(to: str = ARN) -> Parcel:
    return Parcel("id-1", to, b'{"n":1}', 1_000, headers={"Content-Type": "text/plain"})


async def test_a_call_is_signed_over_its_time_and_its_body() -> None:
    async with site() as answers, target(answers.url, secret="s3cret") as hook:
        await hook.deliver(parcel())
        headers, body = answers.seen[0]
        digest = hmac.new(b"s3cret", b"1763717405." + body, hashlib.sha256).hexdigest()
        assert headers["X-Hearth-Signature"] == f"t=1763717405,v1={digest}"
        assert (headers["X-Hearth-Delivery"], headers["Content-Type"], body) == ("id-1", "text/plain", b'{"n":1}')


async def test_a_url_can_be_called_without_being_registered_and_is_not_signed() -> None:
    async with site() as answers, target("") as hook:
        await hook.deliver(parcel(answers.url))
        assert "X-Hearth-Signature" not in answers.seen[0][0]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410])
async def test_what_will_not_change_is_refused(status: int) -> None:
    async with site() as answers, target(answers.url) as hook:
        answers.status, answers.headers = status, {"Location": answers.url}
        with pytest.raises(TargetRefused) as refused:
            await hook.deliver(parcel())
        assert refused.value.code == f"HTTP{status}"
        assert len(answers.seen) == 1
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_what_may_change_is_tried_again_when_the_target_wants_it(status: int) -> None:
    async with site() as answers, target(answers.url) as hook:
        answers.status, answers.headers = status, {"Retry-After": "17"}
        with pytest.raises(TargetUnavailable) as failed:
            await hook.deliver(parcel())
        assert failed.value.retry_after_s == 17


async def test_nobody_listening_is_no_refusal() -> None:
    async with target("http://127.0.0.1:1/") as hook:
        with pytest.raises(TargetUnavailable, match="no connection"):
            await hook.deliver(parcel())


async def test_a_name_that_is_not_registered_is_refused() -> None:
    async with target("http://x/") as hook:
        with pytest.raises(TargetRefused, match="no webhook named 'nobody'"):
            await hook.deliver(parcel(ARN.replace(":hook", ":nobody").replace("webhook:", "webhook:", 1)))


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "0.0.0.0", "2130706433", "0x7f.1"),
        *("[::ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[::127.0.0.1]", "[fd00:ec2::254]"),
        # Digits and dots of other scripts, which URLs read as ASCII's.
        *("\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1"),
    ],
)
async def test_this_host_and_link_local_addresses_are_nobodys_webhook(host: str) -> None:
    async with site() as answers:
        port = answers.url.split(":")[2]
        async with target(f"http://{host}:{port}", reaches_inside=False) as hook:
            with pytest.raises(TargetRefused) as refused:
                await hook.deliver(parcel())
            assert refused.value.code == "Inside"
        assert answers.seen == []


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "172.17.0.1", "93.184.216.34", "fd00::1", "2606::1"])
def test_private_networks_are_where_self_hosted_services_live(address: str) -> None:
    assert not is_inside(address)


@given(st.ip_addresses(v=4))
def test_an_address_is_inside_however_it_is_wrapped(address: object) -> None:
    assert is_inside(f"::ffff:{address}") == is_inside(str(address))
    assert is_inside(f"64:ff9b::{address}") == is_inside(str(address))


def test_an_answer_is_judged_by_its_status() -> None:
    assert [bool(judge(status, {}, 0).again) for status in (200, 204, 302, 404, 429, 500)] == [0, 0, 0, 0, 1, 1]
    assert [bool(judge(status, {}, 0).never) for status in (200, 204, 302, 404, 429, 500)] == [0, 0, 1, 1, 0, 0]


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_s("120", NOW_S) == 120
    assert retry_after_s("Fri, 21 Nov 2025 09:31:05 GMT", NOW_S) == 60
    assert retry_after_s("Fri, 21 Nov 2020 09:31:05 GMT", NOW_S) == 0
    for nonsense in ("", "soon", "-1", "9" * 20):
        assert retry_after_s(nonsense, NOW_S) is None


def test_another_time_is_another_signature() -> None:
    assert signature("s", b"x", 1) != signature("s", b"x", 2)


class Kept:
    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    async def load_all(self) -> dict[str, bytes]:
        return dict(self.records)

    async def put(self, name: str, record: bytes, /) -> None:
        self.records[name] = record

    async def delete(self, name: str, /) -> None:
        self.records.pop(name, None)


async def test_webhooks_are_kept_sealed_and_found_again() -> None:
    kept, sealer = Kept(), Sealer(b"k" * 32)
    book = WebhookBook(kept, sealer)
    hook = Webhook("hook", "https://example.org/x?token=t0p", "s3cret", 5)
    assert await book.add(hook)
    assert not await book.add(hook)
    assert b"t0p" not in kept.records["hook"]
    assert b"s3cret" not in kept.records["hook"]
    assert "t0p" not in repr(hook)
    again = WebhookBook(kept, sealer)
    await again.load()
    assert list(again) == [hook]
    await again.remove("hook")
    assert (again.find("hook"), kept.records) == (None, {})
    with pytest.raises(ResourceNotFound):
        await again.remove("hook")


async def test_a_record_that_cannot_be_opened_is_no_webhook() -> None:
    kept = Kept()
    await WebhookBook(kept, Sealer(b"k" * 32)).add(Webhook("hook", "https://example.org/"))
    other = WebhookBook(kept, Sealer(b"o" * 32))
    await other.load()
    assert list(other) == []


@pytest.mark.parametrize("url", ["", "ftp://x/", "https://", "https://x:99999/", "https://x/\n", "javascript:1"])
async def test_what_is_no_url_of_a_webhook_is_refused(url: str) -> None:
    with pytest.raises(InvalidParameterValue):
        await WebhookBook(Kept(), Sealer(b"k" * 32)).add(Webhook("hook", url))


def test_of_a_url_only_where_it_goes_is_shown() -> None:
    assert shown_url("https://user:pw@example.org:8443/x?token=1") == "https://example.org:8443/…"
    assert shown_target("https://example.org/t0p") == "https://example.org/…"
    assert shown_target("arn:aws:sns:r:0:t") == "arn:aws:sns:r:0:t"
    assert shown_target("https://[/t0p") == "…"
