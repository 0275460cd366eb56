"""`hearth images`: what each runtime identifier runs on, and building with or without a registry."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from typer.testing import CliRunner

from hearth.core.runtimes import RUNTIMES, Catalogue
from hearth_cli import images, recipes
from hearth_cli.main import app


class FakeEngine:
    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue(Catalogue.of("python3.13", "provided").images, buildable=frozenset(recipes.INTERPRETERS))
    monkeypatch.setattr(images, "connect", FakeEngine)
    monkeypatch.setattr(images, "catalogue", lambda _client, _settings: catalogue)


def rows(**environment: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["images", "--json"], env=environment)
    assert done.exit_code == 0, done.output
    return {row["runtime"]: row for row in json.loads(done.stdout)}


def test_every_identifier_is_listed_with_what_it_runs_on() -> None:
    found = rows()
    assert set(found) == set(RUNTIMES)
    assert (found["python3.13"]["match"], found["python3.13"]["hint"]) == ("exact", "")
    assert (found["go1.x"]["interpreter"], found["go1.x"]["match"]) == ("provided", "exact")
    assert (found["python3.11"]["interpreter"], found["python3.11"]["match"]) == ("python3.13", "nearest")
    assert found["python3.11"]["hint"] == "hearth images build python3.11"
    assert (found["dotnet8"]["interpreter"], found["dotnet8"]["match"], found["dotnet8"]["hint"]) == (None, "none", "")


def test_what_would_be_refused_depends_on_the_setting() -> None:
    assert not rows()["python3.8"]["refused"]
    strict = rows(HEARTH_RUNTIME_SUBSTITUTION="refuse")
    assert strict["python3.8"]["refused"] and not strict["python3.13"]["refused"]
    assert strict["dotnet8"]["refused"]


def test_the_table_is_for_people() -> None:
    done = CliRunner().invoke(app, ["images"], env={"COLUMNS": "120"})
    assert done.exit_code == 0
    line = next(line for line in done.stdout.splitlines() if line.startswith("python3.11 "))
    assert line.split() == ["python3.11", "python3.13", "nearest", "hearth/python3.13:latest"]


def test_what_cannot_be_pulled_does_not_keep_the_others_from_being_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(_client: object, *, only: Iterable[str], **_more: object) -> list[str]:
        if list(only) == ["python3.12"]:
            raise recipes.ImagesError("python:3.12-slim cannot be pulled here")
        return list(only)

    monkeypatch.setattr(images, "build", build)
    done = CliRunner().invoke(app, ["images", "build", "--all", "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {
        "built": [name for name in recipes.INTERPRETERS if name != "python3.12"],
        "failed": ["python:3.12-slim cannot be pulled here"],
    }
    assert CliRunner().invoke(app, ["images", "build", "python3.12"]).exit_code == 1
