"""What makes an image out of date, and how its parts are put together. No engine is asked."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import docker
import pytest
from docker.errors import ImageNotFound
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.scheduler.simulation import function

from hearth.config import Settings
from hearth.core.runtimes import RUNTIMES, Nearness
from hearth_cli import debian_tree, images, recipes
from hearth_scheduler.core.variables import Setting, compose

CONTEXTS = st.dictionaries(st.text("ab/", min_size=1, max_size=4), st.tuples(st.just(0o644), st.binary(max_size=9)))


@dataclass(frozen=True, slots=True)
class FakeImage:
    id: str
    labels: Mapping[str, str]


@dataclass(slots=True)
class FakeEngine:
    """As much of a Docker client as looking for images takes."""

    found: dict[str, FakeImage] = field(default_factory=dict)

    def __getattr__(self, name: str) -> "FakeEngine":
        """`client.images` is where images are looked for."""
        assert name == "images"
        return self

    def get(self, name: str) -> FakeImage:
        if name not in self.found:
            raise ImageNotFound(name)
        return self.found[name]

    def put(self, name: str, label: str = "", **more: str) -> None:
        self.found[name] = FakeImage(f"sha256:{name}", {images.LABEL_BUILD: label, **more})

    def put_current(self, recipe: recipes.Recipe) -> None:
        """The image as a build of today's recipe would leave it."""
        below = self.found[recipes.reference(recipe.parent) if recipe.parent else images._ground(recipe).image]
        label = recipes.digest(recipes.context(recipe), recipe.arguments, below.id)
        self.put(recipes.reference(recipe.name), label)

    def client(self) -> docker.DockerClient:
        return cast(docker.DockerClient, self)

    def outdated(self, *only: str) -> list[str]:
        return images.outdated(self.client(), only=only or None)


@pytest.fixture
def complete() -> FakeEngine:
    engine = FakeEngine()
    engine.put("debian:trixie-slim")
    for name in DEFAULTS:
        engine.put_current(recipes.BY_NAME[name])
    return engine


DEFAULTS = list(recipes.DEFAULTS)


def test_nothing_is_there_at_first() -> None:
    assert FakeEngine().outdated() == DEFAULTS


def test_nothing_is_out_of_date_after_a_build(complete: FakeEngine) -> None:
    assert complete.outdated() == []


def test_an_image_with_another_label_is_out_of_date_alone(complete: FakeEngine) -> None:
    complete.put(recipes.reference("redis"), "another")
    assert complete.outdated() == ["redis"]


def test_all_that_stands_on_an_image_is_out_of_date_with_it(complete: FakeEngine) -> None:
    complete.put(recipes.reference("debian-base"), "another")
    assert complete.outdated() == DEFAULTS


def test_another_debian_below_puts_everything_out_of_date(complete: FakeEngine) -> None:
    complete.found["debian:trixie-slim"] = FakeImage("sha256:newer", {})
    assert complete.outdated() == DEFAULTS


def test_an_image_that_can_only_be_pulled_says_so(monkeypatch: pytest.MonkeyPatch, complete: FakeEngine) -> None:
    monkeypatch.setattr(images, "_pull", lambda *_: None)
    with pytest.raises(
        recipes.ImagesError, match=r"python:3\.12-slim cannot be pulled here, and python3\.12-base cannot"
    ):
        images.build(complete.client(), only=["python3.12"])


def test_trees_of_different_suites_are_different() -> None:
    assert debian_tree.recipe("trixie") != debian_tree.recipe("forky")
    assert any("Check-Valid-Until" in word for word in debian_tree._mmdebstrap("forky", Path("tar")))
    assert not any("Check-Valid-Until" in word for word in debian_tree._mmdebstrap("trixie", Path("tar")))


def test_parents_come_before_what_stands_on_them() -> None:
    seen: set[str | None] = {None}
    for recipe in recipes.RECIPES:
        assert recipe.parent in seen
        seen.add(recipe.name)


def test_every_recipe_stands_on_another_or_on_a_ground() -> None:
    assert not [recipe for recipe in recipes.RECIPES if (recipe.parent is None) == (recipe.ground is None)]


def test_every_runtime_image_is_that_of_an_interpreter() -> None:
    assert set(recipes.INTERPRETERS) <= {runtime.interpreter for runtime in RUNTIMES.values()}


def test_what_is_built_without_being_asked_for_is_little() -> None:
    assert DEFAULTS == ["debian-base", "init", "redis", "python3.13", "nodejs22.x", "provided"]
    assert set(recipes.with_parents(DEFAULTS)) == set(DEFAULTS)


def test_what_was_once_asked_for_is_kept_up_to_date(complete: FakeEngine) -> None:
    complete.put(recipes.reference("nodejs18.x"), "another")
    assert complete.outdated() == ["nodejs18.x"]
    assert complete.outdated("redis") == []


def test_what_was_never_asked_for_is_not_missed_but_can_be_asked_for(complete: FakeEngine) -> None:
    assert complete.outdated("python3.11", "redis") == ["debian-bookworm", "python3.11"]


def test_the_catalogue_knows_what_is_installed_and_how_it_is_driven(complete: FakeEngine) -> None:
    complete.put(recipes.reference("python3.13"), **{images.LABEL_STEM: "1"})
    complete.put("mine:1")
    found = images.catalogue(complete.client(), Settings(runtime_images={"ruby3.3": "mine:1"}))
    assert set(found.images) == {"python3.13", "nodejs22.x", "provided"}
    assert found.images["python3.13"].is_stem and not found.images["provided"].is_stem
    assert found.choice("ruby3.3").nearness is Nearness.OWN
    assert found.choice("python3.9").nearness is Nearness.NEAREST


def test_an_own_image_for_a_runtime_that_does_not_exist_is_refused(complete: FakeEngine) -> None:
    with pytest.raises(recipes.ImagesError, match="runtime_images: there is no runtime perl5"):
        images.catalogue(complete.client(), Settings(runtime_images={"perl5": "mine:1"}))


def test_only_some_images_bring_what_they_stand_on() -> None:
    assert recipes.with_parents(["redis"]) == ["debian-base", "redis"]


def test_an_image_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(recipes.ImagesError, match=r"there is no image perl; there are debian-base, init"):
        recipes.with_parents(["perl"])


@given(CONTEXTS, CONTEXTS)
def test_contexts_have_the_same_hash_only_if_they_are_the_same(
    one: dict[str, tuple[int, bytes]], other: dict[str, tuple[int, bytes]]
) -> None:
    assert (recipes.digest(one, {}, "below") == recipes.digest(other, {}, "below")) == (one == other)


def test_arguments_modes_and_the_image_below_are_part_of_the_hash() -> None:
    files = {"a": (0o644, b"x")}
    hashes = {
        recipes.digest(files, {}, "below"),
        recipes.digest(files, {"A": "1"}, "below"),
        recipes.digest(files, {}, "other"),
        recipes.digest({"a": (0o755, b"x")}, {}, "below"),
    }
    assert len(hashes) == 4


@given(CONTEXTS)
def test_the_same_context_is_packed_to_the_same_bytes(files: dict[str, tuple[int, bytes]]) -> None:
    assert recipes.packed(files).getvalue() == recipes.packed(dict(reversed(files.items()))).getvalue()


@pytest.mark.parametrize("recipe", recipes.RECIPES, ids=lambda recipe: recipe.name)
def test_a_context_has_a_dockerfile_and_nothing_compiled(recipe: recipes.Recipe) -> None:
    names = recipes.context(recipe)
    assert "Dockerfile" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


@pytest.mark.parametrize("recipe", recipes.RECIPES, ids=lambda recipe: recipe.name)
def test_every_argument_of_a_recipe_is_one_of_its_dockerfile(recipe: recipes.Recipe) -> None:
    dockerfile = recipes.context(recipe)["Dockerfile"][1].decode()
    for name in (*recipe.arguments, "HEARTH_DEBIAN"):
        assert f"ARG {name}\n" in dockerfile


@pytest.mark.parametrize("folder", ["python", "nodejs", "provided", "ruby", "java"])
def test_an_interpreter_starts_with_the_library_path_that_functions_are_given(folder: str) -> None:
    dockerfile = (recipes.recipes_folder() / folder / "Dockerfile").read_text()
    variables = compose(function(), Setting(interpreter="", region="r", log_stream="s"))
    assert f" LD_LIBRARY_PATH={variables['LD_LIBRARY_PATH']} " in dockerfile
    assert f" PATH={variables['PATH']} " in dockerfile or folder == "provided"


def test_progress_is_told_by_line_and_step() -> None:
    told: list[tuple[str, str, str]] = []
    events: list[dict[str, object]] = [
        {"stream": "Step 1/2 : FROM x\n"},
        {"stream": "\n"},
        {"stream": "fetching\nunpacking\n"},
        {"aux": {}},
    ]
    images._follow(events, "redis", lambda *words: told.append(words))
    assert told == [
        ("redis", "FROM x", "Step 1/2 : FROM x"),
        ("redis", "FROM x", "fetching"),
        ("redis", "FROM x", "unpacking"),
    ]


def test_a_failed_build_names_the_step_and_the_last_words() -> None:
    events = [{"stream": "Step 2/2 : RUN apt-get update\n"}, {"stream": "no network\n"}, {"error": "returned 100"}]
    with pytest.raises(
        recipes.ImagesError, match=r"building redis failed at `RUN apt-get update`: returned 100 \(no network\)"
    ):
        images._follow(events, "redis", lambda *_: None)


def test_without_root_and_registry_the_way_out_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(debian_tree.TreeError, match="needs root"), debian_tree.made("trixie", lambda _: None):
        pass


def test_a_tool_that_fails_is_quoted() -> None:
    with pytest.raises(debian_tree.TreeError, match="sh failed with status 3: no such suite"):
        debian_tree._run(["sh", "-c", "echo no such suite; exit 3"], lambda _: None)


def test_a_tool_that_is_interrupted_is_stopped_first() -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        debian_tree._run(["sh", "-c", "echo $$; exec sleep 1000"], interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
