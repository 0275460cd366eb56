"""Function records: phases, what runs during them, and what makes an environment stale."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth.core.errors import ResourceConflict
from hearth.core.function import LATEST, FunctionName
from hearth.core.records import (
    STATES,
    STEPS,
    Configuration,
    Deployment,
    FunctionRecord,
    IllegalStep,
    Logging,
    Package,
    Phase,
    Reason,
    Step,
    VersionRecord,
)
from hearth.wire import StoredRecordError, decode_record, encode_record

CONFIGURATION = Configuration(role="arn:aws:iam::000000000000:role/r", runtime="python3.13", handler="app.handler")
OLD, NEW = Package("aa" * 32, 1), Package("bb" * 32, 2)
BROKEN = Reason("InvalidZipFileException", "broken")


def function(package: Package = OLD, **fields: Any) -> FunctionRecord:
    configuration = replace(CONFIGURATION, **fields)
    latest = VersionRecord(LATEST, Deployment(configuration, package), "r1", 1_000)
    return FunctionRecord(FunctionName("hello"), "us-east-1", "000000000000", latest)


def active(package: Package = OLD, **fields: Any) -> FunctionRecord:
    record = function(package, **fields)
    return replace(record, latest=record.latest.ready("r2"))


def updating(package: Package = NEW) -> FunctionRecord:
    record = active()
    deployment = replace(record.latest.deployment, package=package)
    return replace(record, latest=record.latest.changed(deployment, "r3", 2_000))


def test_a_new_function_is_pending_and_has_nothing_to_run() -> None:
    record = function()
    assert not record.is_runnable
    with pytest.raises(ResourceConflict, match="currently in the following state: Pending"):
        record.version()


def test_a_ready_package_makes_the_function_active() -> None:
    record = active()
    assert record.latest.phase is Phase.ACTIVE
    assert record.latest.reason is None
    assert record.version().code_sha256 == OLD.sha256


def test_a_broken_package_makes_a_new_function_fail() -> None:
    record = function()
    record = replace(record, latest=record.latest.broken(BROKEN, "r2"))
    assert record.state.value == "Failed"
    with pytest.raises(ResourceConflict, match="Failed"):
        record.version()


def test_the_old_deployment_runs_until_the_new_one_is_ready() -> None:
    record = updating()
    assert record.version().code_sha256 == OLD.sha256
    assert record.packages == {OLD.sha256, NEW.sha256}
    record = replace(record, latest=record.latest.ready("r4"))
    assert record.version().code_sha256 == NEW.sha256
    assert record.packages == {NEW.sha256}


def test_the_old_deployment_goes_on_running_when_an_update_fails() -> None:
    record = updating()
    record = replace(record, latest=record.latest.broken(BROKEN, "r4"))
    assert record.version().code_sha256 == OLD.sha256
    assert STATES[record.latest.phase][0].value == "Active"


def test_a_failed_update_can_be_repeated() -> None:
    failed = updating().latest.broken(BROKEN, "r4")
    again = failed.changed(failed.deployment, "r5", 3_000)
    assert again.phase is Phase.UPDATING
    assert again.serving is not None
    assert again.serving.package == OLD


def test_a_step_that_the_table_does_not_have_raises() -> None:
    with pytest.raises(IllegalStep):
        active().latest.ready("r3")
    with pytest.raises(IllegalStep):
        updating().latest.changed(updating().latest.deployment, "r9", 1)


@given(st.lists(st.sampled_from(Step)))
def test_every_walk_keeps_the_revisions_apart_and_something_to_run_once_there_was(steps: list[Step]) -> None:
    version = function().latest
    revisions = [version.revision_id]
    was_runnable = False
    for number, step in enumerate(steps):
        if (version.phase, step) not in STEPS:
            continue
        revision = f"w{number}"
        match step:
            case Step.CHANGE:
                version = version.changed(version.deployment, revision, number)
            case Step.READY:
                version = version.ready(revision)
            case Step.BREAK:
                version = version.broken(BROKEN, revision)
        revisions.append(version.revision_id)
        was_runnable = was_runnable or version.phase is Phase.ACTIVE
        assert (version.serving is not None) == was_runnable
        assert (version.reason is None) == (version.phase is Phase.ACTIVE)
    assert len(set(revisions)) == len(revisions)


@pytest.mark.parametrize(
    "fields",
    [
        {"handler": "other.handler"},
        {"timeout_s": 4},
        {"memory_mib": 256},
        {"ephemeral_storage_mib": 1024},
        {"environment": {"AA": "b"}},
        {"runtime": "nodejs20.x"},
        {"logging": Logging(group="elsewhere")},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_an_environment_is_made_from_changes_the_revision(fields: dict[str, Any]) -> None:
    assert active(**fields).version().revision != active().version().revision


def test_new_code_changes_the_revision() -> None:
    assert active(NEW).version().revision != active().version().revision


@pytest.mark.parametrize("fields", [{"description": "new"}, {"tracing_mode": "Active"}])
def test_what_no_environment_can_see_keeps_warm_ones_warm(fields: dict[str, Any]) -> None:
    assert active(**fields).version().revision == active().version().revision


def test_the_version_carries_what_the_environment_needs() -> None:
    version = active(environment={"AA": "b"}).version()
    assert version.arn == "arn:aws:lambda:us-east-1:000000000000:function:hello"
    assert version.log_group == "/aws/lambda/hello"
    assert version.environment == {"AA": "b"}
    assert version.key == ("hello", "$LATEST")


def test_the_version_is_made_once_per_record() -> None:
    record = active()
    assert record.version() is record.version()


@pytest.mark.parametrize("record", [function(), active(environment={"AA": "ü"}), updating()], ids=str)
def test_a_record_survives_the_store(record: FunctionRecord) -> None:
    assert decode_record(encode_record(record)) == record


def test_members_that_are_unknown_or_missing_do_not_matter() -> None:
    stored = encode_record(active()).replace(b'"tags":{}', b'"from_the_future":1')
    assert decode_record(stored) == active()


@pytest.mark.parametrize("stored", [b"", b"{", b"{}", b"[]", b"\xff", b'{"schema_version":1,"record":{}}'])
def test_bytes_that_are_no_record_are_refused(stored: bytes) -> None:
    with pytest.raises(StoredRecordError):
        decode_record(stored)


def test_a_record_of_a_newer_schema_is_refused() -> None:
    with pytest.raises(StoredRecordError, match="newer"):
        decode_record(encode_record(active()).replace(b'"schema_version":1', b'"schema_version":99'))


def test_what_a_version_runs_is_made_once_however_often_its_function_changes() -> None:
    record = active()
    record = replace(record, versions={"1": replace(record.latest, version="1")})
    changed = replace(record, tags={"a": "b"})
    assert changed.version("1") is record.version("1")
    moved = replace(record, region="eu-west-1")
    assert moved.version("1").arn == "arn:aws:lambda:eu-west-1:000000000000:function:hello:1"
