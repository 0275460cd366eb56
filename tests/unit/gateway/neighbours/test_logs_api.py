"""CloudWatch Logs through AWS's own client: what functions wrote is found, followed, kept and deleted."""

import asyncio
import json
from typing import Any

import pytest
from tests.unit.gateway.neighbours.house import ACCOUNT, REGION, Client, House

GROUP = "/aws/lambda/hello"
ARN = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{GROUP}"
STREAM = "2026/11/21/[$LATEST]" + "0" * 32


def write(opened: House, *lines: str, stream: str = STREAM, group: str = GROUP) -> None:
    for line in lines:
        opened.logs.append(group, stream, f"{line}\n".encode(), opened.now_ms)
        opened.now_ms += 1


async def test_what_a_function_wrote_is_found_with_its_line_breaks_times_and_streams(opened: House) -> None:
    start_ms = opened.now_ms
    write(opened, "START RequestId: 1", "boom\rTraceback", "END RequestId: 1")
    found = (await opened.client("logs")("filter_log_events", logGroupName=GROUP))["events"]
    assert [event["message"] for event in found] == ["START RequestId: 1\n", "boom\nTraceback\n", "END RequestId: 1\n"]
    assert [event["timestamp"] for event in found] == [start_ms, start_ms + 1, start_ms + 2]
    assert {event["logStreamName"] for event in found} == {STREAM}
    assert len({event["eventId"] for event in found}) == 3


@pytest.mark.parametrize(
    "asked",
    [
        {"filterPattern": "ERROR"},
        {"filterPattern": '{ $.level = "ERROR" }'},
        {"logStreamNames": ["b"]},
        {"logStreamNamePrefix": "b"},
        {"startTime": 1_795_000_000_001, "endTime": 1_795_000_000_001},
    ],
)
async def test_events_are_chosen_by_text_stream_and_time(opened: House, asked: dict[str, Any]) -> None:
    write(opened, '{"level": "INFO"}', stream="a")
    write(opened, '{"level": "ERROR"}', stream="b")
    write(opened, '{"level": "DEBUG"}', stream="c")
    found = (await opened.client("logs")("filter_log_events", logGroupName=GROUP, **asked))["events"]
    assert [event["message"] for event in found] == ['{"level": "ERROR"}\n']


async def follow(logs: Client, seen: list[str], known: dict[int, set[str]]) -> None:
    """One round of `aws logs tail --follow`: all pages from the newest time seen, without what was shown already."""
    asked: dict[str, Any] = {"logGroupName": GROUP, "startTime": max(known, default=0)}
    while True:
        answer = await logs("filter_log_events", limit=3, **asked)
        for event in answer["events"]:
            if event["eventId"] not in known.setdefault(event["timestamp"], set()):
                known[event["timestamp"]].add(event["eventId"])
                seen.append(event["message"])
        if "nextToken" not in answer:
            break
        asked["nextToken"] = answer["nextToken"]
    for time in [time for time in known if time != max(known)]:
        del known[time]


async def test_following_loses_and_repeats_nothing(opened: House) -> None:
    logs = opened.client("logs")
    seen, known, written = list[str](), dict[int, set[str]](), list[str]()
    for number in range(40):
        # Several events in a millisecond, of two streams, some of them in halves.
        opened.logs.append(GROUP, "ab"[number % 2], f"{number}".encode(), opened.now_ms)
        opened.logs.append(GROUP, "ab"[number % 2], b"\n", opened.now_ms + number % 3)
        opened.now_ms += number % 3
        written.append(f"{number}\n")
        if number % 7 == 0:
            await follow(logs, seen, known)
    await follow(logs, seen, known)
    assert seen == written


async def test_get_log_events_reads_a_stream_from_both_ends(opened: House) -> None:
    write(opened, *map(str, range(10)))
    write(opened, "of another", stream="other")
    logs = opened.client("logs")
    asked = {"logGroupName": GROUP, "logStreamName": STREAM, "limit": 4}
    newest = await logs("get_log_events", **asked)
    assert [event["message"] for event in newest["events"]] == ["6\n", "7\n", "8\n", "9\n"]
    older = await logs("get_log_events", nextToken=newest["nextBackwardToken"], **asked)
    assert [event["message"] for event in older["events"]] == ["2\n", "3\n", "4\n", "5\n"]
    again = await logs("get_log_events", nextToken=older["nextForwardToken"], **asked)
    assert again["events"] == newest["events"]
    end = await logs("get_log_events", nextToken=newest["nextForwardToken"], **asked)
    assert (end["events"], end["nextForwardToken"]) == ([], newest["nextForwardToken"])
    assert (await logs("get_log_events", nextToken=end["nextBackwardToken"], **asked))["events"] == newest["events"]
    write(opened, "10")
    more = await logs("get_log_events", nextToken=end["nextForwardToken"], **asked)
    assert [event["message"] for event in more["events"]] == ["10\n"]
    first = await logs("get_log_events", startFromHead=True, **asked)
    assert [event["message"] for event in first["events"]] == ["0\n", "1\n", "2\n", "3\n"]
    before = await logs("get_log_events", nextToken=first["nextBackwardToken"], **asked)
    assert (before["events"], before["nextBackwardToken"]) == ([], first["nextBackwardToken"])
    assert (await logs("get_log_events", nextToken=before["nextForwardToken"], **asked))["events"] == first["events"]


async def test_the_end_of_a_stream_is_excluded_from_its_time(opened: House) -> None:
    start_ms = opened.now_ms
    write(opened, "0", "1", "2")
    found = await opened.client("logs")(
        "get_log_events", logGroupIdentifier=ARN, logStreamName=STREAM, startTime=start_ms, endTime=start_ms + 2
    )
    assert [event["message"] for event in found["events"]] == ["0\n", "1\n"]


async def test_groups_are_described_as_terraform_reads_them(opened: House) -> None:
    logs = opened.client("logs")
    await logs("create_log_group", logGroupName=GROUP, tags={"team": "a"})
    await logs("put_retention_policy", logGroupName=GROUP, retentionInDays=14)
    (group,) = (await logs("describe_log_groups", logGroupNamePrefix=GROUP))["logGroups"]
    assert group.pop("storedBytes") == 0
    assert group == {
        "logGroupName": GROUP, "creationTime": opened.now_ms, "retentionInDays": 14, "metricFilterCount": 0,
        "arn": f"{ARN}:*", "logGroupArn": ARN, "logGroupClass": "STANDARD",
    }  # fmt: skip
    assert (await logs("list_tags_for_resource", resourceArn=ARN))["tags"] == {"team": "a"}
    await logs("tag_resource", resourceArn=ARN, tags={"stage": "b"})
    await logs("untag_resource", resourceArn=ARN, tagKeys=["team"])
    assert (await logs("list_tags_log_group", logGroupName=GROUP))["tags"] == {"stage": "b"}
    await logs("delete_retention_policy", logGroupName=GROUP)
    assert "retentionInDays" not in (await logs("describe_log_groups"))["logGroups"][0]


async def test_lists_of_groups_and_streams_have_pages(opened: House) -> None:
    logs = opened.client("logs")
    for number in range(5):
        await logs("create_log_group", logGroupName=f"/group/{number}")
        write(opened, "x", stream=f"stream-{4 - number}", group="/group/0")
    pages = await all_pages(logs, "describe_log_groups")
    assert [[group["logGroupName"][-1] for group in page["logGroups"]] for page in pages] == [
        ["0", "1"], ["2", "3"], ["4"]
    ]  # fmt: skip
    found = await logs("describe_log_groups", logGroupNamePattern="GROUP/3")
    assert [group["logGroupName"] for group in found["logGroups"]] == ["/group/3"]
    for order, expected in (("LogStreamName", "01234"), ("LastEventTime", "43210")):
        for descending in (False, True):
            pages = await all_pages(
                logs, "describe_log_streams", logGroupName="/group/0", orderBy=order, descending=descending
            )
            names = "".join(stream["logStreamName"][-1] for page in pages for stream in page["logStreams"])
            assert names == (expected[::-1] if descending else expected)


async def all_pages(logs: Client, operation: str, **asked: object) -> list[dict[str, Any]]:
    paginator = logs.raw.get_paginator(operation)
    return await asyncio.to_thread(lambda: list(paginator.paginate(**asked, PaginationConfig={"PageSize": 2})))


async def test_functions_may_write_logs_of_their_own(opened: House) -> None:
    logs = opened.client("logs")
    await logs("create_log_group", logGroupName="/own")
    await logs("create_log_stream", logGroupName="/own", logStreamName="s")
    event = {"timestamp": opened.now_ms - 1000, "message": "two\nlines, no end"}
    await logs("put_log_events", logGroupName="/own", logStreamName="s", logEvents=[event])
    (found,) = (await logs("get_log_events", logGroupName="/own", logStreamName="s"))["events"]
    assert found == {**event, "ingestionTime": opened.now_ms}
    (stream,) = (await logs("describe_log_streams", logGroupName="/own"))["logStreams"]
    assert (stream["firstEventTimestamp"], stream["arn"]) == (
        event["timestamp"],
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/own:log-stream:s",
    )
    assert await logs.code("create_log_stream", logGroupName="/own", logStreamName="s") == (
        "ResourceAlreadyExistsException",
        400,
    )


async def test_events_of_another_time_are_rejected_and_the_others_kept(opened: House) -> None:
    logs = opened.client("logs")
    await logs("create_log_group", logGroupName="/own")
    await logs("create_log_stream", logGroupName="/own", logStreamName="s")
    day_ms = 86_400_000
    times = [opened.now_ms - 15 * day_ms, opened.now_ms, opened.now_ms + day_ms]
    events = [{"timestamp": time, "message": str(time)} for time in times]
    answer = await logs("put_log_events", logGroupName="/own", logStreamName="s", logEvents=events)
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}
    found = (await logs("filter_log_events", logGroupName="/own"))["events"]
    assert [event["message"] for event in found] == [str(opened.now_ms)]
    disordered = events[::-1]
    asked = {"logGroupName": "/own", "logStreamName": "s", "logEvents": disordered}
    assert (await logs.code("put_log_events", **asked))[0] == "InvalidParameterException"


async def test_a_deleted_stream_takes_its_events_with_it_and_no_others(opened: House) -> None:
    write(opened, "gone", stream="a")
    write(opened, "kept", stream="b")
    logs = opened.client("logs")
    await logs("create_log_stream", logGroupName=GROUP, logStreamName="made")
    before = (await logs("filter_log_events", logGroupName=GROUP, logStreamNames=["b"]))["events"]
    for stream in ("a", "made"):
        await logs("delete_log_stream", logGroupName=GROUP, logStreamName=stream)
    assert (await logs("filter_log_events", logGroupName=GROUP))["events"] == before
    streams = (await logs("describe_log_streams", logGroupName=GROUP))["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == ["b"]
    found = await logs.code("delete_log_stream", logGroupName=GROUP, logStreamName="a")
    assert found == ("ResourceNotFoundException", 400)


async def test_a_deleted_group_is_gone_until_something_is_written(opened: House) -> None:
    write(opened, "old")
    logs = opened.client("logs")
    await logs("delete_log_group", logGroupName=GROUP)
    error = await logs.error("filter_log_events", logGroupName=GROUP)
    assert error.response["Error"] == {
        "Code": "ResourceNotFoundException", "Message": "The specified log group does not exist."
    }  # fmt: skip
    assert isinstance(error, logs.raw.exceptions.ResourceNotFoundException)
    write(opened, "new")
    found = (await logs("filter_log_events", logGroupName=GROUP))["events"]
    assert [event["message"] for event in found] == ["new\n"]


@pytest.mark.parametrize(
    ("operation", "asked", "code"),
    [
        ("create_log_group", {"logGroupName": GROUP}, "ResourceAlreadyExistsException"),
        ("create_log_group", {"logGroupName": "no spaces"}, "InvalidParameterException"),
        ("create_log_group", {"logGroupName": "x", "kmsKeyId": "k"}, "InvalidParameterException"),
        ("put_retention_policy", {"logGroupName": GROUP, "retentionInDays": 2}, "InvalidParameterException"),
        ("filter_log_events", {"logGroupName": GROUP, "filterPattern": "[a, b]"}, "InvalidParameterException"),
        ("filter_log_events", {"logGroupName": GROUP, "nextToken": "x"}, "InvalidParameterException"),
        ("filter_log_events", {"logGroupName": GROUP, "startTime": 2, "endTime": 1}, "InvalidParameterException"),
        ("filter_log_events", {"logGroupName": GROUP, "logStreamNames": ["no"]}, "ResourceNotFoundException"),
        ("filter_log_events", {}, "InvalidParameterException"),
        ("filter_log_events", {"logGroupName": GROUP, "limit": "many"}, "SerializationException"),
        ("get_log_events", {"logGroupName": GROUP, "logStreamName": "no"}, "ResourceNotFoundException"),
        ("get_log_events", {"logGroupName": GROUP, "logStreamName": "s", "nextToken": "x"},
         "InvalidParameterException"),
        ("describe_log_streams", {"logGroupName": "/no"}, "ResourceNotFoundException"),
        ("describe_log_streams", {"logGroupName": GROUP, "nextToken": "x"}, "InvalidParameterException"),
        ("describe_log_groups", {"nextToken": "é"}, "InvalidParameterException"),
        ("put_log_events", {"logGroupName": GROUP, "logStreamName": "no",
                            "logEvents": [{"timestamp": 1, "message": "x"}]}, "ResourceNotFoundException"),
        ("list_tags_for_resource", {"resourceArn": "arn:aws:logs:::other"}, "InvalidParameterException"),
        ("delete_log_group", {"logGroupName": "/no"}, "ResourceNotFoundException"),
        ("describe_export_tasks", {}, "UnknownOperationException"),
    ],
)  # fmt: skip
async def test_errors_have_the_services_codes(opened: House, operation: str, asked: dict[str, Any], code: str) -> None:
    write(opened, "x", stream="s")
    assert await opened.client("logs").code(operation, **asked) == (code, 400)


async def test_a_limited_key_reads_only_the_groups_that_its_policy_names(opened: House) -> None:
    write(opened, "x")
    write(opened, "x", group="/aws/lambda/other")
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": ["logs:Filter*", "logs:Get*"], "Resource": f"{ARN}:*"}],
    }
    logs = opened.client("logs", await opened.add_user("dev", json.dumps(policy)))
    await logs("filter_log_events", logGroupName=GROUP)
    await logs("get_log_events", logGroupName=GROUP, logStreamName=STREAM)
    for asked in ({"logGroupName": "/aws/lambda/other"}, {"logGroupName": "/no"}):
        assert await logs.code("filter_log_events", **asked) == ("AccessDeniedException", 400)
    assert await logs.code("delete_log_group", logGroupName=GROUP) == ("AccessDeniedException", 400)
    assert await logs.code("describe_log_groups") == ("AccessDeniedException", 400)
    assert (await opened.client("logs")("filter_log_events", logGroupName=GROUP))["events"]


async def test_a_role_with_the_basic_policy_writes_logs_and_reads_none(opened: House) -> None:
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    ]}  # fmt: skip
    iam = opened.client("iam")
    role = (await iam("create_role", RoleName="fn", AssumeRolePolicyDocument=json.dumps(trust)))["Role"]
    basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    await iam("attach_role_policy", RoleName="fn", PolicyArn=basic)
    answer = await opened.client("sts")("assume_role", RoleArn=role["Arn"], RoleSessionName="fn")
    logs = opened.assumed("logs", answer["Credentials"])
    await logs("create_log_group", logGroupName="/own")
    await logs("create_log_stream", logGroupName="/own", logStreamName="s")
    assert await logs.code("filter_log_events", logGroupName="/own") == ("AccessDeniedException", 400)
