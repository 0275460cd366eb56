"""Log groups, from the function's print to AWS's own client: shared, followed by `hearth logs`, and longer-lived than
their functions."""

from typing import Any

import boto3
import pytest
from botocore.config import Config
from tests.docker.house import House, eventually, unique

pytestmark = pytest.mark.docker

SPEAKER = """
def handler(event, context):
    print("said by", context.function_name)
    if event.get("fail"):
        raise ValueError("boom")
    return context.log_group_name, context.log_stream_name
"""


@pytest.fixture
def logs(hearth: House) -> Any:
    pair = {
        "aws_access_key_id": hearth.variables["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": hearth.variables["AWS_SECRET_ACCESS_KEY"],
    }
    endpoint = hearth.variables["AWS_ENDPOINT_URL"]
    return boto3.client(
        "logs", region_name="us-east-1", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}), **pair
    )


def messages(logs: Any, group: str, **more: Any) -> list[str]:
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, **more)
    return [event["message"] for page in pages for event in page["events"]]


def test_functions_share_a_group_and_their_logs_stay_their_own(hearth: House, logs: Any) -> None:
    group = f"/shared/{unique('group')}"
    names = [hearth.create(stem, SPEAKER, LoggingConfig={"LogGroup": group}) for stem in ("first", "second")]
    for name in names:
        seen_group, stream = hearth.invoke(name, {}).value
        assert (seen_group, f"/{name}[$LATEST]" in stream) == (group, True)
        eventually(lambda name=name: f"said by {name}" in hearth.log(name), "the log is there")  # type: ignore[misc]
        assert f"said by {name}\n" in messages(logs, group, logStreamNames=[stream])
    for name, other in (names, names[::-1]):
        assert f"said by {name}" in hearth.log(name)
        assert f"said by {other}" not in hearth.log(name)
    streams = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True)["logStreams"]
    assert [stream["logStreamName"].split("/")[3].partition("[")[0] for stream in streams] == names[::-1]


def test_a_log_outlives_its_function_until_it_is_deleted(hearth: House, logs: Any) -> None:
    name = hearth.create("gone", SPEAKER)
    hearth.invoke(name, {"fail": True})
    group = f"/aws/lambda/{name}"
    eventually(lambda: any("REPORT" in message for message in messages(logs, group)), "the log is there")
    before = messages(logs, group)
    assert [message.split(" ")[0] for message in before] == ["INIT_START", "START", "said", "[ERROR]", "END", "REPORT"]
    assert messages(logs, group, filterPattern='"boom" Traceback')[0].count("\n") > 2
    hearth.api.delete_function(FunctionName=name)
    assert messages(logs, group) == before
    logs.delete_log_group(logGroupName=group)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []
    with pytest.raises(logs.exceptions.ResourceNotFoundException, match="The specified log group does not exist"):
        messages(logs, group)
