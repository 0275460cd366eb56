"""What makes an image out of date, and how its parts are put together. No engine is asked."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import docker
import pytest
from docker.errors import ImageNotFound
from hypothesis import given
from hypothesis import strategies as st

from hearth_cli import debian_tree, images

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

    def put(self, name: str, label: str = "") -> None:
        self.found[name] = FakeImage(f"sha256:{name}", {images.LABEL_BUILD: label})

    def put_current(self, recipe: images.Recipe) -> None:
        """The image as a build of today's recipe would leave it."""
        parent = images.reference(recipe.parent) if recipe.parent else "debian:trixie-slim"
        label = images._hash(images._context(recipe), recipe.arguments, self.found[parent].id)
        self.put(images.reference(recipe.name), label)

    def outdated(self) -> list[str]:
        return images.outdated(cast(docker.DockerClient, self))


@pytest.fixture
def complete() -> FakeEngine:
    engine = FakeEngine()
    engine.put("debian:trixie-slim")
    for recipe in images.RECIPES:
        engine.put_current(recipe)
    return engine


ALL = [recipe.name for recipe in images.RECIPES]


def test_nothing_is_there_at_first() -> None:
    assert FakeEngine().outdated() == ALL


def test_nothing_is_out_of_date_after_a_build(complete: FakeEngine) -> None:
    assert complete.outdated() == []


def test_an_image_with_another_label_is_out_of_date_alone(complete: FakeEngine) -> None:
    complete.put(images.reference("redis"), "another")
    assert complete.outdated() == ["redis"]


def test_all_that_stands_on_an_image_is_out_of_date_with_it(complete: FakeEngine) -> None:
    complete.put(images.reference("debian-base"), "another")
    assert complete.outdated() == ALL


def test_another_debian_below_puts_everything_out_of_date(complete: FakeEngine) -> None:
    complete.found["debian:trixie-slim"] = FakeImage("sha256:newer", {})
    assert complete.outdated() == ALL


def test_parents_come_before_what_stands_on_them() -> None:
    seen: set[str | None] = {None}
    for recipe in images.RECIPES:
        assert recipe.parent in seen
        seen.add(recipe.name)


def test_every_runtime_has_an_image() -> None:
    assert set(images.RUNTIME_IMAGES.values()) <= set(ALL)


def test_only_some_images_bring_what_they_stand_on() -> None:
    assert images._with_parents(["redis"]) == ["debian-base", "redis"]


def test_an_image_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(images.ImagesError, match=r"there is no image perl; there are debian-base, init"):
        images._with_parents(["perl"])


@given(CONTEXTS, CONTEXTS)
def test_contexts_have_the_same_hash_only_if_they_are_the_same(
    one: dict[str, tuple[int, bytes]], other: dict[str, tuple[int, bytes]]
) -> None:
    assert (images._hash(one, {}, "below") == images._hash(other, {}, "below")) == (one == other)


def test_arguments_modes_and_the_image_below_are_part_of_the_hash() -> None:
    files = {"a": (0o644, b"x")}
    hashes = {
        images._hash(files, {}, "below"),
        images._hash(files, {"A": "1"}, "below"),
        images._hash(files, {}, "other"),
        images._hash({"a": (0o755, b"x")}, {}, "below"),
    }
    assert len(hashes) == 4


@given(CONTEXTS)
def test_the_same_context_is_packed_to_the_same_bytes(files: dict[str, tuple[int, bytes]]) -> None:
    assert images._tar(files).getvalue() == images._tar(dict(reversed(files.items()))).getvalue()


@pytest.mark.parametrize("recipe", images.RECIPES, ids=lambda recipe: recipe.name)
def test_a_context_has_a_dockerfile_and_nothing_compiled(recipe: images.Recipe) -> None:
    names = images._context(recipe)
    assert "Dockerfile" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


@pytest.mark.parametrize("recipe", images.RECIPES, ids=lambda recipe: recipe.name)
def test_every_argument_of_a_recipe_is_one_of_its_dockerfile(recipe: images.Recipe) -> None:
    dockerfile = images._context(recipe)["Dockerfile"][1].decode()
    for name in (*recipe.arguments, "HEARTH_DEBIAN"):
        assert f"ARG {name}\n" in dockerfile


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
        images.ImagesError, match=r"building redis failed at `RUN apt-get update`: returned 100 \(no network\)"
    ):
        images._follow(events, "redis", lambda *_: None)


def test_without_root_and_registry_the_way_out_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(debian_tree.TreeError, match="needs root"), debian_tree.made(lambda _: None):
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
