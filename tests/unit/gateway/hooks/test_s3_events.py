"""What object stores say, as S3 says it."""

from typing import Any
from urllib.parse import quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.s3_events import NotAnS3Event, S3Filter, identity_of, key_of, s3_records

REGION = "us-east-1"


def minio_record(key: str = "dir%2Fmy+file.txt", name: str = "s3:ObjectCreated:Put") -> dict[str, Any]:
    """What MinIO's servers send (key made up)."""
    return {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": "",
        "eventTime": "2026-11-21T10:00:00.123Z",
        "eventName": name,
        "userIdentity": {"principalId": "minioadmin"},
        "requestParameters": {"principalId": "minioadmin", "region": "", "sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": "15CF", "x-minio-deployment-id": "0170"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "Config",
            "bucket": {"name": "b", "ownerIdentity": {"principalId": "minioadmin"}, "arn": "arn:aws:s3:::b"},
            "object": {
                "key": key,
                "size": 1024,
                "eTag": "d41d",
                "contentType": "text/plain",
                "userMetadata": {"content-type": "text/plain"},
                "sequencer": "15CFEDF8D5304D1A",
            },
        },
        "source": {"host": "192.0.2.1", "port": "", "userAgent": "MinIO"},
    }


def test_minios_webhook_becomes_an_event_of_s3() -> None:
    body = {"EventName": "s3:ObjectCreated:Put", "Key": "b/dir/my file.txt", "Records": [minio_record()]}
    (record,) = s3_records(orjson.dumps(body), REGION)
    assert record == {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-11-21T10:00:00.123Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "minioadmin"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": "15CF", "x-minio-deployment-id": "0170"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "Config",
            "bucket": {"name": "b", "ownerIdentity": {"principalId": "minioadmin"}, "arn": "arn:aws:s3:::b"},
            "object": {"key": "dir/my+file.txt", "size": 1024, "eTag": "d41d", "sequencer": "15CFEDF8D5304D1A"},
        },
    }


def test_minios_list_is_the_same_records() -> None:
    body = [{"Event": [minio_record()], "EventTime": "2026-11-21T10:00:00Z"}, {"Event": [minio_record("x")]}]
    assert [key_of(one) for one in s3_records(orjson.dumps(body), REGION)] == ["dir/my file.txt", "x"]


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_key_is_encoded_once_whoever_encoded_it(key: str) -> None:
    for safe in ("", "/"):
        (record,) = s3_records(orjson.dumps({"Records": [minio_record(quote_plus(key, safe=safe))]}), REGION)
        assert key_of(record) == key
        (again,) = s3_records(orjson.dumps({"Records": [record]}), REGION)
        assert again == record


def test_an_event_of_s3_stays_what_it_is_and_its_test_event_has_no_records() -> None:
    (record,) = s3_records(orjson.dumps({"Records": [minio_record()]}), REGION)
    assert s3_records(orjson.dumps({"Records": [record]}), "elsewhere") == (record,)
    assert s3_records(orjson.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}), REGION) == ()


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (
            "create",
            {"new_entry": {"name": "f", "attributes": {"file_size": 3, "mtime": 1}}},
            [("ObjectCreated:Put", "d/f")],
        ),
        ("delete", {"old_entry": {"name": "f"}}, [("ObjectRemoved:Delete", "d/f")]),
        (
            "rename",
            {"old_entry": {"name": "f"}, "new_entry": {"name": "g"}, "new_parent_path": "/buckets/b/e"},
            [("ObjectCreated:Copy", "e/g")],
        ),
        ("create", {"new_entry": {"name": "d", "is_directory": True}}, []),
    ],
)
def test_changes_of_a_seaweed_filer_are_events_of_their_buckets(
    kind: str, data: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    body = {"key": "/buckets/b/d/f", "event_type": kind, "message_data": data}
    assert [(one["eventName"], key_of(one)) for one in s3_records(orjson.dumps(body), REGION)] == expected
    outside = {**body, "key": "/etc/f"}
    if kind != "rename":
        assert s3_records(orjson.dumps(outside), REGION) == ()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Records",
                        "Event",
                        "key",
                        "event_type",
                        "message_data",
                        "s3",
                        "bucket",
                        "object",
                        "name",
                        "eventName",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_whatever_comes_it_is_records_or_none(said: Any) -> None:
    try:
        records = s3_records(orjson.dumps(said), REGION)
    except NotAnS3Event:
        return
    assert all(one["eventSource"] == "aws:s3" for one in records)


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"[]", b'"x"', b'{"Records": [1]}', b'{"Records": [{"s3": {}}]}'])
def test_what_is_no_event_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(NotAnS3Event):
        s3_records(body, REGION)


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (S3Filter(), True),
        (S3Filter(buckets=("b",)), True),
        (S3Filter(buckets=("c",)), False),
        (S3Filter(prefix="dir/my f"), True),
        (S3Filter(prefix="dir/my+f"), False),
        (S3Filter(suffix=".txt"), True),
        (S3Filter(suffix=".jpg"), False),
        (S3Filter(events=("s3:ObjectCreated:*",)), True),
        (S3Filter(events=("ObjectCreated:Put",)), True),
        (S3Filter(events=("s3:ObjectRemoved:*", "s3:ObjectCreated:Post")), False),
    ],
)
def test_a_hook_can_want_some_events_only(wanted: S3Filter, fits: bool) -> None:
    (record,) = s3_records(orjson.dumps({"Records": [minio_record()]}), REGION)
    assert wanted.accepts(record) is fits


def test_an_event_told_twice_is_the_same_and_others_are_others() -> None:
    first, second, third = s3_records(
        orjson.dumps({"Records": [minio_record(), minio_record("x"), minio_record(name="s3:ObjectRemoved:Delete")]}),
        REGION,
    )
    (again,) = s3_records(orjson.dumps({"Records": [minio_record()]}), REGION)
    assert identity_of(again) == identity_of(first)
    assert len({identity_of(one) for one in (first, second, third)}) == 3


whole = st.integers(-(2**63), 2**63 - 1)
members = st.one_of(st.none(), whole, st.text(), st.lists(st.none()), st.dictionaries(st.text(), whole))


@given(
    st.dictionaries(st.sampled_from(["requestParameters", "responseElements", "userIdentity", "awsRegion"]), members)
)
def test_a_record_with_members_of_other_types_is_one_or_none(strange: dict[str, Any]) -> None:
    try:
        s3_records(orjson.dumps({"Records": [{**minio_record(), **strange}]}), REGION)
    except NotAnS3Event:
        return


def test_what_is_nested_too_deeply_for_an_event_is_none() -> None:
    nested = b'{"a":' * 300 + b"1" + b"}" * 300
    body = orjson.dumps({"Records": [{**minio_record(), "userIdentity": orjson.Fragment(nested)}]})
    with pytest.raises(NotAnS3Event):
        s3_records(body, REGION)


@given(st.dictionaries(st.sampled_from(["mtime", "file_size", "mtime_ns"]), members), members)
def test_a_change_of_a_filer_with_members_of_other_types_is_one_or_none(about: dict[str, Any], entry: Any) -> None:
    for each in (entry, {"name": "f", "attributes": about}):
        body = {"key": "/buckets/b/f", "event_type": "create", "message_data": {"new_entry": each}}
        try:
            s3_records(orjson.dumps(body), REGION)
        except NotAnS3Event:
            continue
