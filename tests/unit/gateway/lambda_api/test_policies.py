"""Resource-based policies through the API, and the documents they make."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.lambda_api.harness import ARN, Harness

from hearth.core.attachments import Alias
from hearth.core.errors import (
    InvalidParameterValue,
    PolicyLengthExceeded,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from hearth.core.policy_document import parse_policy
from hearth_gateway.core import resource_policy

S3 = {
    "StatementId": "s3",
    "Action": "lambda:InvokeFunction",
    "Principal": "s3.amazonaws.com",
    "SourceArn": "arn:aws:s3:::bucket",
    "SourceAccount": "000000000000",
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Harness]:
    async with Harness(tmp_path).running() as harness:
        await harness.created()
        yield harness


async def permit(api: Harness, **parameters: Any) -> dict[str, Any]:
    return await api.call("AddPermission", FunctionName="hello", **{**S3, **parameters})


async def test_a_permission_becomes_the_statement_that_the_service_writes(api: Harness) -> None:
    answer = await permit(api)
    assert answer["status"] == 201
    assert answer["Statement"] == (
        '{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction",'
        f'"Resource":"{ARN}","Condition":{{"StringEquals":{{"AWS:SourceAccount":"000000000000"}},'
        '"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::bucket"}}}'
    )
    policy = await api.call("GetPolicy", FunctionName="hello")
    assert json.loads(policy["Policy"]) == {
        "Version": "2012-10-17",
        "Id": "default",
        "Statement": [json.loads(answer["Statement"])],
    }


@pytest.mark.parametrize(
    ("principal", "written"),
    [
        ("*", "*"),
        ("123456789012", {"AWS": "arn:aws:iam::123456789012:root"}),
        ("arn:aws:iam::123456789012:role/r", {"AWS": "arn:aws:iam::123456789012:role/r"}),
        ("events.amazonaws.com", {"Service": "events.amazonaws.com"}),
    ],
)
async def test_each_kind_of_principal_has_its_form(api: Harness, principal: str, written: object) -> None:
    answer = await permit(api, Principal=principal)
    assert json.loads(answer["Statement"])["Principal"] == written


@pytest.mark.parametrize("principal", ["somebody", "arn:aws:s3:::bucket", "12345"])
async def test_an_unknown_principal_is_refused(api: Harness, principal: str) -> None:
    with pytest.raises(InvalidParameterValue, match="The provided principal was invalid"):
        await permit(api, Principal=principal)


async def test_the_conditions_of_a_public_url_are_written(api: Harness) -> None:
    answer = await permit(api, StatementId="url", Principal="*", FunctionUrlAuthType="NONE", InvokedViaFunctionUrl=True)
    condition = json.loads(answer["Statement"])["Condition"]
    assert condition["StringEquals"]["lambda:FunctionUrlAuthType"] == "NONE"
    assert condition["Bool"] == {"lambda:InvokedViaFunctionUrl": "true"}


async def test_a_statement_id_is_used_once(api: Harness) -> None:
    await permit(api)
    with pytest.raises(ResourceConflict, match=r"The statement id \(s3\) provided already exists\."):
        await permit(api)


async def test_removing_the_last_statement_removes_the_policy(api: Harness) -> None:
    await permit(api)
    await permit(api, StatementId="other")
    await api.call("RemovePermission", FunctionName="hello", StatementId="s3")
    left = json.loads((await api.call("GetPolicy", FunctionName="hello"))["Policy"])
    assert [statement["Sid"] for statement in left["Statement"]] == ["other"]
    with pytest.raises(ResourceNotFound, match="Statement s3 is not found in resource policy"):
        await api.call("RemovePermission", FunctionName="hello", StatementId="s3")
    await api.call("RemovePermission", FunctionName="hello", StatementId="other")
    with pytest.raises(ResourceNotFound, match="The resource you requested does not exist"):
        await api.call("GetPolicy", FunctionName="hello")
    with pytest.raises(ResourceNotFound, match="No policy is associated with the given resource"):
        await api.call("RemovePermission", FunctionName="hello", StatementId="s3")


async def test_a_stale_revision_changes_nothing(api: Harness) -> None:
    await permit(api)
    before = await api.call("GetPolicy", FunctionName="hello")
    with pytest.raises(PreconditionFailed, match="Call the GetPolicy API"):
        await permit(api, StatementId="two", RevisionId="0" * 36)
    with pytest.raises(PreconditionFailed):
        await api.call("RemovePermission", FunctionName="hello", StatementId="s3", RevisionId="0" * 36)
    assert await api.call("GetPolicy", FunctionName="hello") == before
    await permit(api, StatementId="two", RevisionId=before["RevisionId"])
    assert (await api.call("GetPolicy", FunctionName="hello"))["RevisionId"] != before["RevisionId"]


async def test_each_alias_has_a_policy_of_its_own(api: Harness) -> None:
    record = api.registry.find("hello")
    assert record is not None
    await api.registry.put(replace(record, aliases={"live": Alias("live", "$LATEST", "r")}))
    answer = await permit(api, Qualifier="live")
    assert json.loads(answer["Statement"])["Resource"] == f"{ARN}:live"
    with pytest.raises(ResourceNotFound):
        await api.call("GetPolicy", FunctionName="hello")
    assert "live" in (await api.call("GetPolicy", FunctionName="hello", Qualifier="live"))["Policy"]


async def test_latest_by_name_takes_no_policy(api: Harness) -> None:
    with pytest.raises(InvalidParameterValue, match=r"We currently do not support adding policies for \$LATEST\."):
        await permit(api, Qualifier="$LATEST")


async def test_a_missing_qualifier_is_no_function(api: Harness) -> None:
    with pytest.raises(ResourceNotFound, match=r"Function not found: .*:function:hello:nope"):
        await permit(api, Qualifier="nope")


async def test_a_policy_has_a_longest_size(api: Harness) -> None:
    long = f"arn:aws:s3:::{'b' * 9_000}"
    await permit(api, StatementId="one", SourceArn=long)
    await permit(api, StatementId="two", SourceArn=long)
    with pytest.raises(PolicyLengthExceeded):
        await permit(api, StatementId="three", SourceArn=long)


async def test_whole_documents_and_single_statements_are_the_same_policy(api: Harness) -> None:
    await permit(api)
    whole = await api.call("GetResourcePolicy", ResourceArn=ARN)
    assert whole["Policy"] == (await api.call("GetPolicy", FunctionName="hello"))["Policy"]
    document = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {"Sid": "mine", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": ARN},
        }
    )
    put = await api.call("PutResourcePolicy", ResourceArn=ARN, Policy=document, RevisionId=whole["RevisionId"])
    assert put["Policy"] == document
    await permit(api)
    sids = [s["Sid"] for s in json.loads((await api.call("GetPolicy", FunctionName="hello"))["Policy"])["Statement"]]
    assert sids == ["mine", "s3"]
    assert (await api.call("DeleteResourcePolicy", ResourceArn=ARN))["status"] == 204
    with pytest.raises(ResourceNotFound):
        await api.call("GetResourcePolicy", ResourceArn=ARN)


async def test_a_text_that_is_no_policy_is_refused(api: Harness) -> None:
    with pytest.raises(InvalidParameterValue, match="malformed"):
        await api.call("PutResourcePolicy", ResourceArn=ARN, Policy='{"Statement": 1}')


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "StatementId": st.from_regex(r"[a-zA-Z0-9-_]{1,8}", fullmatch=True),
                "Action": st.sampled_from(["lambda:InvokeFunction", "lambda:*", "*"]),
                "Principal": st.sampled_from(["*", "123456789012", "s3.amazonaws.com"]),
            }
        ),
        unique_by=lambda statement: statement["StatementId"],
        min_size=1,
        max_size=8,
    )
)
def test_every_document_we_write_can_be_evaluated(parameters: list[dict[str, str]]) -> None:
    policy = None
    for one in parameters:
        policy = resource_policy.added(policy, resource_policy.statement_of(one, ARN), "r")
    assert policy is not None
    assert [s.sid for s in parse_policy(policy.document).statements] == [one["StatementId"] for one in parameters]
    for one in parameters[:-1]:
        policy = resource_policy.removed(policy, one["StatementId"], "r")
        assert policy is not None
    assert resource_policy.removed(policy, parameters[-1]["StatementId"], "r") is None
