"""Invocations of versions and aliases over a real socket: what runs, and what the caller is told of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.gateway.served import Served, record, serving

from hearth.core.attachments import Alias, UrlConfig
from hearth.core.function import LATEST
from hearth.core.invocation import Invocation, Ledger, Outcome, Succeeded
from hearth.core.records import FunctionRecord

ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"
URL_ID = "0123456789abcdef0123456789abcdef"


def published(*aliases: Alias) -> FunctionRecord:
    """A function with the versions 1 and 2, and these aliases."""
    function = record("hello")
    numbers = {number: replace(function.latest, version=number) for number in ("1", "2")}
    return replace(function, versions=numbers, last_version=2, aliases={alias.name: alias for alias in aliases})


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as running:
        yield running


async def invoke(served: Served, name: str = "hello", query: str = "") -> tuple[int, str, str]:
    """Status, executed version and error of an invocation."""
    target = served.url(f"/2015-03-31/functions/{name}/invocations{query}")
    async with served.client.post(target, data=b"{}") as response:
        headers = response.headers
        return response.status, headers.get("X-Amz-Executed-Version", ""), headers.get("x-amzn-ErrorType", "")


@pytest.mark.parametrize(
    ("name", "query", "version", "invoked"),
    [
        ("hello", "", "$LATEST", ARN),
        ("hello", "?Qualifier=%24LATEST", "$LATEST", f"{ARN}:$LATEST"),
        ("hello:1", "", "1", f"{ARN}:1"),
        ("hello", "?Qualifier=2", "2", f"{ARN}:2"),
        ("hello%3A2", "?Qualifier=2", "2", f"{ARN}:2"),
        ("arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Ahello%3Alive", "", "1", f"{ARN}:live"),
        ("hello", "?Qualifier=live", "1", f"{ARN}:live"),
    ],
)
async def test_the_version_that_ran_and_the_arn_that_was_used_are_told(
    served: Served, name: str, query: str, version: str, invoked: str
) -> None:
    await served.put(published(Alias("live", "1", "r")))
    assert await invoke(served, name, query) == (200, version, "")
    [invocation] = served.scheduler.invocations
    assert (invocation.function.version, invocation.invoked_arn) == (version, invoked)
    assert invocation.function.arn == (ARN if version == LATEST else f"{ARN}:{version}")


async def test_what_does_not_exist_is_not_found(served: Served) -> None:
    await served.put(published())
    for query in ("?Qualifier=3", "?Qualifier=live", "?Qualifier=%24LATEST.PUBLISHED"):
        assert await invoke(served, query=query) == (404, "", "ResourceNotFoundException")
    assert (await invoke(served, "hello%3A1", "?Qualifier=2"))[2] == "InvalidParameterValueException"


async def test_a_weighted_alias_gives_the_second_version_its_share(served: Served) -> None:
    """1,000 independent invocations at 0.5: mean 500, standard deviation 15.8. Eight deviations are left."""
    await served.put(published(Alias("live", "1", "r", weights={"2": 0.5})))
    found: Counter[str] = Counter()
    for _ in range(1_000):
        _, version, _ = await invoke(served, "hello:live")
        found[version] += 1
    assert set(found) == {"1", "2"}
    assert abs(found["2"] - 500) <= 8 * 15.9
    assert {invocation.invoked_arn for invocation in served.scheduler.invocations} == {f"{ARN}:live"}


async def test_an_alias_that_moves_leaves_alone_what_runs(served: Served) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def wait(invocation: Invocation) -> Outcome:
        begun.set()
        await end.wait()
        return Succeeded(b"{}", Ledger())

    served.scheduler.script("hello", wait)
    await served.put(published(Alias("live", "1", "r")))
    running = asyncio.create_task(invoke(served, "hello:live"), name="running")
    await begun.wait()
    await served.put(published(Alias("live", "2", "r2")))
    end.set()
    assert await running == (200, "1", "")
    assert await invoke(served, "hello:live") == (200, "2", "")


@pytest.mark.parametrize("path", ["/", "/fn/hello:live", "/fn/hello%3Alive/"])
async def test_the_url_of_an_alias_runs_its_version(served: Served, path: str) -> None:
    url = UrlConfig(URL_ID, "NONE", 0, 0)
    await served.put(replace(published(Alias("live", "2", "r")), urls={"live": url}))
    host = {"Host": f"{URL_ID}.lambda-url.localhost:9400"} if path == "/" else {}
    async with served.client.get(served.url(path), headers=host) as response:
        assert response.status == 200
    [invocation] = served.scheduler.invocations
    assert (invocation.function.version, invocation.invoked_arn) == ("2", f"{ARN}:live")


async def test_an_alias_without_a_url_is_told_so_by_name(served: Served) -> None:
    await served.put(published(Alias("live", "2", "r")))
    async with served.client.get(served.url("/fn/hello:live/")) as response:
        assert response.status == 404
        assert "hello:live has no URL" in await response.text()
