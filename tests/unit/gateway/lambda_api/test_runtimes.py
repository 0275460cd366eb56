"""What the API says of a function whose interpreter is not the one that was asked for."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.gateway.lambda_api.harness import ENDPOINT, Harness

from hearth.core.errors import InvalidParameterValue
from hearth.core.runtimes import Catalogue, Choice, runtime_version_arn


async def test_what_runs_on_its_own_interpreter_has_nothing_to_say(api: Harness) -> None:
    answer = await api.create(Runtime="nodejs22.x")
    assert answer["RuntimeVersionConfig"] == {
        "RuntimeVersionArn": runtime_version_arn("us-east-1", "nodejs22.x", "nodejs22.x")
    }


@pytest.mark.parametrize(("identifier", "interpreter"), [("python3.8", "python3.13"), ("nodejs18.x", "nodejs22.x")])
async def test_what_runs_on_the_nearest_interpreter_says_so(api: Harness, identifier: str, interpreter: str) -> None:
    answer = await api.create(Runtime=identifier)
    assert answer["Runtime"] == identifier
    assert answer["RuntimeVersionConfig"] == {
        "RuntimeVersionArn": runtime_version_arn("us-east-1", identifier, interpreter),
        "Error": {
            "ErrorCode": "RuntimeSubstituted",
            "Message": f"{identifier} is not installed here: the function runs on {interpreter}.",
        },
    }


async def test_a_runtime_without_any_interpreter_is_refused_with_the_way_out(api: Harness) -> None:
    with pytest.raises(InvalidParameterValue, match=r"Runtime dotnet8 is not installed .* setting runtime_images"):
        await api.create(Runtime="dotnet8")


async def test_functions_of_a_runtime_that_was_uninstalled_are_still_shown(
    api: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.create(Runtime="nodejs18.x")

    def nothing(_catalogue: Catalogue, _identifier: str) -> Choice | None:
        return None

    monkeypatch.setattr(Catalogue, "find", nothing)
    answer = await api.call("GetFunctionConfiguration", FunctionName="hello")
    assert answer["RuntimeVersionConfig"]["Error"]["ErrorCode"] == "RuntimeNotInstalled"


async def test_an_operator_can_have_neighbours_refused(tmp_path: Path) -> None:
    strict = replace(ENDPOINT, runtimes=replace(Catalogue.of("python3.13"), may_substitute=False))
    async with Harness(tmp_path, endpoint=strict).running() as api:
        await api.create(Runtime="python3.13")
        with pytest.raises(InvalidParameterValue, match=r"Runtime python3\.8 is not installed on this platform\."):
            await api.create("other", Runtime="python3.8")
