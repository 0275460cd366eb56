"""The query protocol, against botocore's own serializer and parser."""

from typing import Any
from urllib.parse import urlencode

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.lambda_api.service_model import load_inputs
from hearth_gateway.neighbours.calls import CallerError
from hearth_gateway.neighbours.query_protocol import Entries, read_members, render_answer, render_error

VERSION = "2010-05-08"
NAMESPACE = f"https://iam.amazonaws.com/doc/{VERSION}/"
OPERATIONS = ("CreateRole", "ListPolicies", "TagRole", "UntagRole")
INPUTS = load_inputs(OPERATIONS, "iam", VERSION)
MODEL = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("iam", "service-2", VERSION), "iam")
# With the characters that XML has no way to say left out.
text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cn", "Cs"]), max_size=20)
tags = st.lists(st.fixed_dictionaries({"Key": text, "Value": text}), max_size=12)


def sent(operation: str, members: dict[str, Any]) -> dict[str, str]:
    """The form that a client sends."""
    request = botocore.serialize.create_serializer("query", include_validation=False).serialize_to_request(
        members, MODEL.operation_model(operation)
    )
    return {name: str(value) for name, value in request["body"].items()}


@given(text, st.integers(0, 10**6), tags)
def test_what_a_client_sends_is_read_as_it_was_meant(name: str, seconds: int, tagged: list[dict[str, str]]) -> None:
    members = {"RoleName": name, "MaxSessionDuration": seconds, "Tags": tagged}
    assert read_members(INPUTS["CreateRole"], sent("CreateRole", members)) == members


@given(st.booleans(), st.lists(text, min_size=1))
def test_flags_and_lists_of_texts_are_read_too(only_attached: bool, keys: list[str]) -> None:
    listing = {"OnlyAttached": only_attached, "MaxItems": 7}
    assert read_members(INPUTS["ListPolicies"], sent("ListPolicies", listing)) == listing
    untagging = {"RoleName": "r", "TagKeys": keys}
    assert read_members(INPUTS["UntagRole"], sent("UntagRole", untagging)) == untagging


names = st.lists(st.sampled_from(["Tags", "member", "1", "2", "x", "Key", "RoleName", "", "entry"]), max_size=30)


@given(st.dictionaries(names.map(".".join), st.text(max_size=5), max_size=12), st.sampled_from(OPERATIONS))
def test_whatever_the_fields_are_they_are_members_or_an_error_of_the_caller(
    fields: dict[str, str], operation: str
) -> None:
    try:
        assert isinstance(read_members(INPUTS[operation], fields), dict)
    except CallerError as error:
        assert error.code == "MalformedInput"


def test_numbers_of_items_need_not_be_complete_and_order_them() -> None:
    fields = {"TagKeys.member.10": "c", "TagKeys.member.2": "a", "TagKeys.member.x": "no", "TagKeys.member.3": "b"}
    assert read_members(INPUTS["UntagRole"], fields) == {"TagKeys": ["a", "b", "c"]}


@pytest.mark.parametrize("number", ["", "x", "1.5", "9" * 30, "\uff11"])
def test_a_number_that_is_none_is_the_callers_error(number: str) -> None:
    with pytest.raises(CallerError, match="must be a number"):
        read_members(INPUTS["CreateRole"], {"MaxSessionDuration": number})


def parsed(operation: str, body: bytes, status: int = 200) -> dict[str, Any]:
    answer = {"headers": {}, "status_code": status, "body": body}
    shape = MODEL.operation_model(operation).output_shape
    found: dict[str, Any] = botocore.parsers.create_parser("query").parse(answer, shape)
    return found


@given(text, tags, st.booleans())
def test_answers_are_parsed_as_they_were_meant(marker: str, tagged: list[dict[str, str]], more: bool) -> None:
    answer = {"Tags": tagged, "IsTruncated": more, "Marker": marker}
    body = render_answer("ListRoleTags", answer, NAMESPACE, "id-1")
    found = parsed("ListRoleTags", body)
    assert found.pop("ResponseMetadata")["RequestId"] == "id-1"
    assert found == answer


@given(st.text(max_size=30))
def test_any_text_can_be_in_an_error(message: str) -> None:
    body = render_error(CallerError("NoSuchEntity", message, 404), NAMESPACE, "id-2")
    found = parsed("GetRole", body, 404)
    assert (found["Error"]["Code"], found["ResponseMetadata"]["RequestId"]) == ("NoSuchEntity", "id-2")
    if message.isprintable() and message.strip() == message:
        assert (found["Error"]["Message"] or "") == message


def test_a_form_survives_its_encoding() -> None:
    assert (
        urlencode(sent("TagRole", {"RoleName": "ä&b", "Tags": []}))
        == "Action=TagRole&Version=2010-05-08&RoleName=%C3%A4%26b&Tags="
    )
    assert read_members(INPUTS["TagRole"], {"RoleName": "ä&b", "Tags": ""}) == {"RoleName": "ä&b", "Tags": []}


def test_maps_are_read_by_the_names_that_their_entries_have_and_written_as_entries() -> None:
    """SNS names the halves of an entry differently from one map to the other."""
    inputs = load_inputs(("Publish", "SetTopicAttributes", "CreateTopic"), "sns", "2010-03-31")
    fields = {"MessageAttributes.entry.1.Name": "kind", "MessageAttributes.entry.1.Value.DataType": "String"}
    assert read_members(inputs["Publish"], fields) == {"MessageAttributes": {"kind": {"DataType": "String"}}}
    given_fields = {"Attributes.entry.1.key": "DisplayName", "Attributes.entry.1.value": "Orders"}
    assert read_members(inputs["CreateTopic"], given_fields) == {"Attributes": {"DisplayName": "Orders"}}
    answer = render_answer("GetTopicAttributes", {"Attributes": Entries({"a<": "1"})}, NAMESPACE, "id")
    assert b"<Attributes><entry><key>a&lt;</key><value>1</value></entry></Attributes>" in answer
