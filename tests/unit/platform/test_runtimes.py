"""Which interpreter runs which runtime identifier."""

import re

import botocore.loaders
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.core.errors import InvalidParameterValue
from hearth.core.runtimes import (
    RUNTIMES,
    Catalogue,
    Family,
    Image,
    Nearness,
    candidates,
    runtime_version_arn,
    version_label,
)

IDENTIFIERS = st.sampled_from(sorted(RUNTIMES))
INTERPRETERS = sorted({runtime.interpreter for runtime in RUNTIMES.values()})


def _model() -> dict[str, dict[str, object]]:
    shapes: dict[str, dict[str, object]] = botocore.loaders.Loader().load_service_model("lambda", "service-2")["shapes"]
    return shapes


def test_every_identifier_of_the_api_is_in_the_table_and_no_other() -> None:
    assert set(RUNTIMES) == set(_model()["Runtime"]["enum"])  # type: ignore[call-overload]  # an untyped model


@given(IDENTIFIERS)
def test_the_first_candidate_is_the_exact_one_and_none_is_of_another_family(identifier: str) -> None:
    found = candidates(identifier)
    assert found[0] == RUNTIMES[identifier].interpreter
    assert {RUNTIMES[name].family for name in found} == {RUNTIMES[identifier].family}
    assert len(set(found)) == len(found)


def test_newer_interpreters_are_nearer_than_older_ones() -> None:
    assert candidates("python3.12")[:4] == ("python3.12", "python3.13", "python3.14", "python3.15")
    assert candidates("python3.12")[4:] == tuple(f"python3.{minor}" for minor in (11, 10, 9, 8, 7, 6))


@pytest.mark.parametrize(
    ("identifier", "interpreter"),
    [
        ("python3.8", "python3.11"),
        ("python3.12", "python3.13"),
        ("python3.15", "python3.13"),
        ("nodejs", "nodejs22.x"),
        ("nodejs4.3-edge", "nodejs22.x"),
        ("nodejs26.x", "nodejs22.x"),
    ],
)
def test_a_missing_interpreter_is_replaced_by_the_nearest_and_that_is_said(identifier: str, interpreter: str) -> None:
    choice = Catalogue.of("python3.11", "python3.13", "nodejs22.x").choice(identifier)
    assert (choice.interpreter, choice.nearness) == (interpreter, Nearness.NEAREST)
    assert choice.remark == f"{identifier} is not installed here: the function runs on {interpreter}."


def test_whoever_gets_a_stand_in_is_told_how_to_get_what_was_asked_for() -> None:
    images = {"python3.13": Image("hearth/python3.13:latest", is_stem=True)}
    choice = Catalogue(images, buildable=frozenset({"python3.11"})).choice("python3.11")
    assert choice.remark is not None and choice.remark.endswith("To change that: hearth images build python3.11")


@pytest.mark.parametrize(
    ("identifier", "interpreter"),
    [("python3.13", "python3.13"), ("java11.al2023", "java11"), ("go1.x", "provided"), ("provided.al2", "provided")],
)
def test_several_identifiers_can_be_run_exactly_by_one_interpreter(identifier: str, interpreter: str) -> None:
    choice = Catalogue.of("python3.13", "java11", "provided").choice(identifier)
    assert (choice.interpreter, choice.nearness, choice.remark) == (interpreter, Nearness.EXACT, None)


def test_python_2_never_runs_on_python_3() -> None:
    with pytest.raises(InvalidParameterValue, match=r"python2\.7 is not installed.*Name an image of your own"):
        Catalogue.of("python3.13").choice("python2.7")


def test_the_operators_own_image_wins() -> None:
    own = {"python3.12": Image("registry.test/py:1", is_stem=False)}
    choice = Catalogue({"python3.12": Image("hearth/python3.12:latest", is_stem=True)}, own).choice("python3.12")
    assert (choice.image, choice.nearness, choice.remark) == (own["python3.12"], Nearness.OWN, None)
    assert choice.interpreter == "registry.test/py:1"


def test_an_operator_can_refuse_what_is_only_near() -> None:
    images = {"python3.13": Image("hearth/python3.13:latest", is_stem=True)}
    strict = Catalogue(images, buildable=frozenset({"python3.11"}), may_substitute=False)
    assert strict.choice("python3.13").nearness is Nearness.EXACT
    with pytest.raises(InvalidParameterValue, match=r"Run `hearth images build python3\.11`, or name an image"):
        strict.choice("python3.11")


def test_functions_that_exist_go_on_running_when_new_ones_would_be_refused() -> None:
    images = {"python3.13": Image("hearth/python3.13:latest", is_stem=True)}
    found = Catalogue(images, may_substitute=False).find("python3.8")
    assert found is not None and found.interpreter == "python3.13"


def test_an_unknown_identifier_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InvalidParameterValue, match=r"Value perl5 at 'runtime' failed .* enum value set: \[custom, "):
        Catalogue.of("python3.13").choice("perl5")


@given(IDENTIFIERS, st.sets(st.sampled_from(INTERPRETERS)))
def test_a_runtime_is_exact_if_its_interpreter_is_there_and_found_if_any_of_its_family_is(
    identifier: str, there: set[str]
) -> None:
    choice = Catalogue.of(*there).find(identifier)
    runtime = RUNTIMES[identifier]
    family = {name for name in there if RUNTIMES[name].family is runtime.family}
    assert (choice is None) == (not family)
    if choice is not None:
        assert choice.interpreter in family
        assert (choice.nearness is Nearness.EXACT) == (runtime.interpreter in there)


@given(IDENTIFIERS)
def test_the_arn_of_a_runtime_version_is_one_and_tells_interpreters_apart(identifier: str) -> None:
    arn = runtime_version_arn("eu-north-1", identifier, "python3.13")
    shape = _model()["RuntimeVersionArn"]
    assert re.fullmatch(str(shape["pattern"]), arn)
    assert arn == runtime_version_arn("eu-north-1", identifier, "python3.13")
    assert arn != runtime_version_arn("eu-north-1", identifier, "python3.12")


@pytest.mark.parametrize(
    ("identifier", "label"),
    [
        ("python3.13", "python:3.13"),
        ("nodejs22.x", "nodejs:22"),
        ("java25", "java:25"),
        ("ruby4.0", "ruby:4.0"),
        ("dotnet10", "dotnet:10"),
        ("java8.al2", "java:8.al2"),
        ("provided.al2023", "provided:al2023"),
        ("go1.x", "go:1"),
        ("nodejs", "nodejs"),
    ],
)
def test_logs_write_family_and_number(identifier: str, label: str) -> None:
    assert version_label(identifier) == label


def test_every_family_is_in_the_table() -> None:
    assert {runtime.family for runtime in RUNTIMES.values()} == set(Family)


def test_where_nothing_runs_a_family_the_nearest_that_can_be_built_is_named() -> None:
    catalogue = Catalogue(Catalogue.of("python3.13").images, buildable=frozenset({"java17", "java21", "python3.11"}))
    assert catalogue.worth_building("java8.al2") == "java17"
    assert catalogue.worth_building("java21") == "java21"
    assert catalogue.worth_building("python3.11") == "python3.11"
    assert catalogue.worth_building("python3.9") is None, "python3.13 runs it already"
    assert catalogue.worth_building("dotnet8") is None
    with pytest.raises(InvalidParameterValue, match="hearth images build java17"):
        catalogue.choice("java11")
