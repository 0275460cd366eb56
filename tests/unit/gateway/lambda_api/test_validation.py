"""Shape constraints and their exact words, and the reading of requests before them."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.core.errors import InvalidRequestContent, ValidationError
from hearth_gateway.core.operations import OPERATIONS
from hearth_gateway.core.validation import Flag, ListOf, MapOf, Member, Number, Structure, Text, check
from hearth_gateway.lambda_api.requests import Request, read_request
from hearth_gateway.lambda_api.service_model import load_inputs

INPUTS = load_inputs(tuple(operation.name for operation in OPERATIONS))


def message(shape: Structure, **members: object) -> str:
    with pytest.raises(ValidationError) as caught:
        check(shape, members)
    return caught.value.message


def one(shape: Any, *, required: bool = False) -> Structure:
    return Structure({"TheMember": Member(shape)}, ("TheMember",) if required else ())


PREFIX = "1 validation error detected: Value"


def test_a_required_member_must_not_be_null() -> None:
    text = message(one(Flag(), required=True))
    assert text == f"{PREFIX} null at 'theMember' failed to satisfy constraint: Member must not be null"


def test_an_absent_optional_member_breaks_nothing() -> None:
    check(one(Text(pattern="a")), {})


@pytest.mark.parametrize(
    ("shape", "value", "shown", "constraint"),
    [
        (Text(pattern="[a-z]+"), "A1", "A1", "Member must satisfy regular expression pattern: [a-z]+"),
        (Text(pattern="[a-z]+"), "abc\n", "abc\n", "Member must satisfy regular expression pattern: [a-z]+"),
        (Text(values=("A", "B")), "C", "C", "Member must satisfy enum value set: [A, B]"),
        (Text(most=2), "abc", "abc", "Member must have length less than or equal to 2"),
        (Text(least=1), "", "", "Member must have length greater than or equal to 1"),
        (Number(most=900), 901, "901", "Member must have value less than or equal to 900"),
        (Number(least=1), 0, "0", "Member must have value greater than or equal to 1"),
        (ListOf(Text(), most=1), ["a", "b"], "[a, b]", "Member must have length less than or equal to 1"),
        (
            ListOf(Text(most=3, least=0, pattern="[a-z]*")),
            ["ok", "A"],
            "[ok, A]",
            "Member must satisfy constraint: [Member must have length less than or equal to 3, Member must have length "
            "greater than or equal to 0, Member must satisfy regular expression pattern: [a-z]*, Member must not be "
            "null]",
        ),
        (
            ListOf(Text(values=("x86_64", "arm64"))),
            ["x"],
            "[x]",
            "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], "
            "Member must not be null]",
        ),
        (
            MapOf(Text(), Number(most=1.0, least=0.0, is_whole=False)),
            {"2": 2.0},
            "{2=2.0}",
            "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have "
            "value greater than or equal to 0.0, Member must not be null]",
        ),
        (
            MapOf(Text(most=1), Flag()),
            {"ab": True},
            "{ab=true}",
            "Map keys must satisfy constraint: [Member must have length less than or equal to 1, "
            "Member must not be null]",
        ),
    ],
    ids=str,
)
def test_each_kind_of_constraint_has_its_words(shape: Any, value: object, shown: str, constraint: str) -> None:
    text = message(one(shape), TheMember=value)
    assert text == f"{PREFIX} '{shown}' at 'theMember' failed to satisfy constraint: {constraint}"


def test_a_secret_value_is_not_repeated() -> None:
    text = message(one(Text(most=1, is_sensitive=True)), TheMember="secret")
    assert "secret" not in text
    assert text.startswith(f"{PREFIX} at 'theMember' failed")


def test_members_inside_are_named_with_dots_and_positions() -> None:
    inner = Structure({"Size": Member(Number(least=5))}, ("Size",))
    assert "at 'theMember.size'" in message(one(inner), TheMember={"Size": 1})
    assert "Value null at 'theMember.size'" in message(one(inner), TheMember={})
    assert "at 'theMember.2.member.size'" in message(one(ListOf(inner)), TheMember=[{"Size": 9}, {"Size": 1}])


def test_several_errors_are_counted_and_joined() -> None:
    shape = Structure({"A": Member(Number(most=1)), "B": Member(Number(most=1))})
    text = message(shape, A=2, B=3)
    assert text.startswith("2 validation errors detected: Value '2' at 'a' failed")
    assert "; Value '3' at 'b' failed" in text


def test_the_classic_limits_are_enforced_where_the_model_is_wider() -> None:
    shape = INPUTS["UpdateFunctionConfiguration"]
    base = {"FunctionName": "hello"}
    check(shape, {**base, "Timeout": 900, "MemorySize": 10_240, "EphemeralStorage": {"Size": 10_240}})
    assert "'timeout' failed to satisfy constraint: Member must have value less than or equal to 900" in message(
        shape, **base, Timeout=901
    )
    assert "less than or equal to 10240" in message(shape, **base, MemorySize=10_241)
    assert "'ephemeralStorage.size'" in message(shape, **base, EphemeralStorage={"Size": 10_241})


def test_a_map_of_secrets_is_not_repeated() -> None:
    text = message(
        INPUTS["UpdateFunctionConfiguration"], FunctionName="hello", Environment={"Variables": {"1BAD": "secret"}}
    )
    assert "secret" not in text
    assert "at 'environment.variables' failed to satisfy constraint: Map keys must satisfy" in text


def read(operation: str, body: bytes = b"", **query: str) -> dict[str, Any]:
    request = Request({"FunctionName": "hello"}, {key: [value] for key, value in query.items()}, {}, body)
    return read_request(INPUTS[operation], request)


@pytest.mark.parametrize("body", [b"{", b"[]", b"1", b'"x"', b"null", b"\xff", b'{"a":}', b"{}x", b'{"A":NaN}'])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestContent, match="Could not parse request body into json"):
        read("UpdateFunctionConfiguration", body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"Timeout":"3"}',
        b'{"Timeout":true}',
        b'{"Timeout":3.5}',
        b'{"Handler":1}',
        b'{"Environment":[]}',
        b'{"Environment":{"Variables":{"A":1}}}',
        b'{"Layers":{}}',
        b'{"Layers":[1]}',
    ],
)
def test_a_member_of_the_wrong_type_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestContent, match="wrong type"):
        read("UpdateFunctionConfiguration", body)


def test_nulls_and_unknown_members_are_as_if_absent() -> None:
    body = b'{"Timeout":null,"FromTheFuture":1,"Environment":{"Variables":{"A":null,"BB":"x"}}}'
    assert read("UpdateFunctionConfiguration", body) == {
        "FunctionName": "hello",
        "Environment": {"Variables": {"BB": "x"}},
    }


def test_members_of_the_query_are_read_by_their_type() -> None:
    assert read("ListFunctions", MaxItems="7", FunctionVersion="ALL") == {"MaxItems": 7, "FunctionVersion": "ALL"}
    with pytest.raises(InvalidRequestContent, match="MaxItems must be a number"):
        read("ListFunctions", MaxItems="many")


def test_a_repeated_key_of_the_query_is_a_list() -> None:
    request = Request({"Resource": "r"}, {"tagKeys": ["a", "b c"]}, {}, b"")
    assert read_request(INPUTS["UntagResource"], request) == {"Resource": "r", "TagKeys": ["a", "b c"]}


@given(st.binary(max_size=100))
def test_blobs_are_bytes(content: bytes) -> None:
    body = b'{"ZipFile":"%s"}' % base64.b64encode(content)
    assert read("UpdateFunctionCode", body)["ZipFile"] == content


def test_a_large_blob_is_decoded_whole() -> None:
    content = bytes(range(256)) * 8_192
    body = b'{"ZipFile":"%s"}' % base64.b64encode(content)
    assert read("UpdateFunctionCode", body)["ZipFile"] == content


LARGE = bytes(range(256)) * 1_024
LARGE_TEXT = base64.b64encode(LARGE)


@pytest.mark.parametrize(
    "body",
    [
        b'{"FunctionName":"f","Code":{"ZipFile":"%s"},"Timeout":5}',
        b'{"Timeout":5, "Code" : { "ZipFile" :\n "%s" } }',
        b'{"Description":"a \\"ZipFile\\": \\"x\\"","Code":{"ZipFile":"%s"},"Timeout":5}',
        b'{"Environment":{"Variables":{"ZipFile":"small"}},"Code":{"ZipFile":"%s"},"Timeout":5}',
        b'{"Timeout":5,"Code":{"S3Key":"ZipFile","ZipFile":"%s"}}',
    ],
    ids=str,
)
def test_a_large_package_is_found_wherever_it_stands(body: bytes) -> None:
    found = read("CreateFunction", body % LARGE_TEXT)
    assert found["Code"]["ZipFile"] == LARGE
    assert found["Timeout"] == 5


def test_a_large_value_that_is_no_package_stays_what_it_is() -> None:
    body = b'{"Environment":{"Variables":{"ZipFile":"%s"}},"Code":{"ZipFile":"YQ=="}}' % LARGE_TEXT
    found = read("CreateFunction", body)
    assert found["Environment"]["Variables"]["ZipFile"] == LARGE_TEXT.decode()
    assert found["Code"]["ZipFile"] == b"a"


def test_a_large_package_with_escaped_slashes_is_read_all_the_same() -> None:
    content = b"\xff" * len(LARGE)
    body = b'{"ZipFile":"%s"}' % base64.b64encode(content).replace(b"/", b"\\/")
    assert read("UpdateFunctionCode", body)["ZipFile"] == content


@pytest.mark.parametrize("body", [b'{"ZipFile":"%s', b'{"ZipFile":"%s"', b'{"ZipFile":"%s"}x', b'{"ZipFile":"%s!"}'])
def test_a_large_body_that_is_damaged_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestContent, match="Could not parse request body into json"):
        read("UpdateFunctionCode", body % LARGE_TEXT)


@pytest.mark.parametrize("text", ["x", "====", "a b=", "YQ==YQ=="])
def test_text_that_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestContent, match="not base64"):
        read("UpdateFunctionCode", b'{"ZipFile":"%s"}' % text.encode())


@pytest.mark.parametrize("key", ["team", "Größe", "über uns", "名前", "a+b=c@d:e/f_g.h-1", "½ nbsp\u00a0"])
def test_tags_may_have_letters_and_spaces_of_any_script(key: str) -> None:
    check(INPUTS["TagResource"], {"Resource": "arn:aws:lambda:us-east-1:000000000000:function:f", "Tags": {key: key}})


@pytest.mark.parametrize("key", ["a*b", "tab\t", "a;b", "\u0301"])
def test_tags_may_have_nothing_else(key: str) -> None:
    text = message(INPUTS["TagResource"], Resource="arn:aws:lambda:us-east-1:000000000000:function:f", Tags={key: "x"})
    assert "at 'tags'" in text


def test_every_pattern_of_the_model_can_be_compiled() -> None:
    def patterns(shape: object) -> None:
        match shape:
            case Structure():
                for member in shape.members.values():
                    patterns(member.shape)
            case ListOf():
                patterns(shape.member)
            case MapOf():
                patterns(shape.key)
                patterns(shape.value)
            case Text(pattern=str()):
                check(one(Text(pattern=f"(?:{shape.pattern})|.*")), {"TheMember": "anything"})
            case _:
                pass

    for shape in INPUTS.values():
        patterns(shape)
