"""The forms of a function's name."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hearth.core.errors import AccessDenied, HearthError, InvalidParameterValue, ValidationError
from hearth.core.function import FunctionName
from hearth_gateway.core.names import (
    NAME_PATTERN,
    FunctionReference,
    function_level,
    function_not_found,
    parse_function_name,
    qualified,
)

REGION, ACCOUNT = "us-east-1", "123456789012"

NAMES = st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True).filter(lambda name: name != "function")
QUALIFIERS = st.one_of(st.none(), st.just("$LATEST"), st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True))
PREFIXES = st.sampled_from(
    [
        "",
        "function:",
        f"{ACCOUNT}:function:",
        f"{ACCOUNT}:",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:",
        f"{REGION}:{ACCOUNT}:function:",
    ]
)


def parsed(text: str) -> FunctionReference:
    return parse_function_name(text, ACCOUNT)


@given(PREFIXES, NAMES, QUALIFIERS)
def test_every_documented_form_names_the_same_function(prefix: str, name: str, qualifier: str | None) -> None:
    text = f"{prefix}{name}" if qualifier is None else f"{prefix}{name}:{qualifier}"
    if not prefix and re.fullmatch(r"\d{12}|[a-z]{2}-[a-z]+-\d", name) and qualifier is not None:
        return  # an account or a region, not a name: the service reads it so as well
    assert parsed(text) == (name, qualifier)


@given(NAMES, QUALIFIERS)
def test_an_arn_that_we_print_is_read_back(name: str, qualifier: str | None) -> None:
    reference = FunctionReference(FunctionName(name), qualifier)
    assert parsed(reference.arn(REGION, ACCOUNT)) == reference


@given(st.text(alphabet=st.sampled_from("abz019:-_.$ /arnfunctionLATESTé\n"), max_size=80))
@example("hello\n")
@example("\u0663" * 12 + ":function:x")
def test_whatever_is_accepted_fits_the_published_pattern(text: str) -> None:
    try:
        reference = parsed(text)
    except HearthError:
        return
    assert re.fullmatch(NAME_PATTERN, text, re.ASCII)
    assert re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", reference.name)


@given(st.text(alphabet=st.sampled_from("ab9:-_.$ "), min_size=1, max_size=30))
def test_whatever_the_published_pattern_refuses_is_a_validation_error(text: str) -> None:
    if re.fullmatch(NAME_PATTERN, text, re.ASCII):
        return
    with pytest.raises(ValidationError) as caught:
        parsed(text)
    assert caught.value.message.startswith(f"1 validation error detected: Value '{text}' at 'functionName' failed")


def test_a_name_of_65_characters_is_an_invalid_parameter() -> None:
    name = "x" * 65
    with pytest.raises(InvalidParameterValue) as caught:
        parsed(name)
    assert caught.value.message == (
        f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 64"
    )


@pytest.mark.parametrize("text", ["", "x" * 257])
def test_the_whole_reference_has_bounds(text: str) -> None:
    with pytest.raises(ValidationError, match="Member must have length"):
        parsed(text)


@pytest.mark.parametrize(
    "text",
    [
        f"arn:aws:lambda:ap-southeast-1:{ACCOUNT}:function:hello",
        f"arn:aws-cn:lambda:cn-north-1:{ACCOUNT}:function:hello",
        f"arn:aws-us-gov:lambda:us-gov-west-1:{ACCOUNT}:function:hello",
        f"eu-central-1:{ACCOUNT}:function:hello",
    ],
)
def test_every_region_and_partition_means_this_platform(text: str) -> None:
    assert parsed(text) == ("hello", None)


@pytest.mark.parametrize("prefix", ["", "arn:aws:lambda:eu-west-1:"])
def test_a_foreign_account_is_denied(prefix: str) -> None:
    with pytest.raises(AccessDenied):
        parsed(f"{prefix}999999999999:function:hello")


def test_a_qualifier_may_be_repeated_but_not_contradicted() -> None:
    reference = parsed("hello:prod")
    assert qualified(reference, None) == ("hello", "prod")
    assert qualified(reference, "prod") == ("hello", "prod")
    assert qualified(parsed("hello"), "prod") == ("hello", "prod")
    with pytest.raises(InvalidParameterValue) as caught:
        qualified(reference, "test")
    assert caught.value.message == (
        "The derived qualifier from the function name does not match the specified qualifier."
    )


@pytest.mark.parametrize(
    ("qualifier", "constraint"),
    [
        ("no spaces", r"Member must satisfy regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"),
        ("x" * 129, "Member must have length less than or equal to 128"),
    ],
)
def test_a_qualifier_has_a_shape(qualifier: str, constraint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        qualified(parsed("hello"), qualifier)
    assert caught.value.message == (
        f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: {constraint}"
    )


def test_operations_on_the_whole_function_refuse_a_qualifier() -> None:
    assert function_level(parsed("hello")) == "hello"
    with pytest.raises(InvalidParameterValue, match="permitted on Lambda functions only"):
        function_level(parsed("hello:$LATEST"))


def test_a_missing_function_is_named_as_it_was_addressed() -> None:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:hello"
    assert function_not_found(parsed("hello"), REGION, ACCOUNT).message == f"Function not found: {arn}"
    assert function_not_found(parsed("hello:1"), REGION, ACCOUNT).message == f"Function not found: {arn}:1"
