"""Published versions: when there is a new one, what it is made of, and what goes with it.

Rule 1: a version never changes, but for becoming ready. Rule 2: a number is given out once, also after its version is
deleted. Rule 3: what is attached to a function (tags, concurrency, policies, settings) is not copied.
Source: PublishVersion and DeleteFunction in the AWS Lambda API reference; "Manage Lambda function versions" in the
developer guide.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from hearth.core.errors import InvalidParameterValue, PreconditionFailed, ResourceConflict
from hearth.core.function import LATEST
from hearth.core.records import CREATING, STATES, FunctionRecord, Phase, VersionRecord

V = TypeVar("V")

_MAX_DIGITS = 18
"""Of a version number inside a marker: nobody publishes so many."""

_NOT_NOW = "The operation cannot be performed at this time."


def check_revision(current: str, wanted: str | None) -> None:
    """Refuse a change that its caller guarded with another revision."""
    if wanted and wanted != current:
        raise PreconditionFailed(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )


def check_settled(record: FunctionRecord) -> None:
    """Refuse a change while the one before it is under way."""
    if record.latest.phase is Phase.PENDING:
        raise ResourceConflict(f"{_NOT_NOW} The function is currently in the following state: Pending")
    if record.latest.phase is Phase.UPDATING:
        raise ResourceConflict(f"{_NOT_NOW} An update is in progress for resource: {record.arn}")


def check_publishable(record: FunctionRecord) -> None:
    """Refuse to publish what does not run."""
    if record.latest.phase is Phase.FAILED:
        state = STATES[Phase.FAILED][0].value
        raise ResourceConflict(f"{_NOT_NOW} The function is currently in the following state: {state}")
    if record.latest.phase is Phase.UPDATE_FAILED:
        raise ResourceConflict(f"{_NOT_NOW} The last update failed for resource: {record.arn}")


def newest(record: FunctionRecord) -> VersionRecord | None:
    """The published version with the highest number."""
    return record.versions[max(record.versions, key=int)] if record.versions else None


def of_page(record: FunctionRecord | None, after: str, limit: int) -> list[tuple[FunctionRecord, VersionRecord]]:
    """The versions of a function from behind this one on, `$LATEST` first, then by number. "" is the beginning."""
    if record is None or limit <= 0:
        return []
    if after not in ("", LATEST) and not (after.isdecimal() and len(after) <= _MAX_DIGITS):
        raise InvalidParameterValue("Invalid Marker.")
    numbers = sorted(map(int, record.versions))
    start = 0 if after in ("", LATEST) else bisect_right(numbers, int(after))
    found = [record.latest] if after == "" else []
    found += (record.versions[str(number)] for number in numbers[start : start + limit - len(found)])
    return [(record, version) for version in found]


def published(
    record: FunctionRecord, *, description: str | None, revision_id: str, now_ms: int
) -> tuple[FunctionRecord, VersionRecord]:
    """The record with `$LATEST` published, and the version that is `$LATEST` now: the newest one, if neither code nor
    configuration changed since. What `$LATEST` is still waiting for, its new version waits for as well."""
    last = newest(record)
    if last is not None and last.deployment == record.latest.deployment and last.phase is not Phase.FAILED:
        return record, last
    is_ready = record.latest.phase is Phase.ACTIVE
    version = VersionRecord(
        version=str(record.last_version + 1),
        deployment=record.latest.deployment,
        revision_id=revision_id,
        modified_ms=now_ms,
        phase=Phase.ACTIVE if is_ready else Phase.PENDING,
        reason=None if is_ready else CREATING,
        description=description,
    )
    return replace(record.with_version(version), last_version=record.last_version + 1), version


def without_version(record: FunctionRecord, qualifier: str) -> FunctionRecord:
    """The record without a published version and what is attached to it."""
    if qualifier == LATEST:
        raise InvalidParameterValue("$LATEST version cannot be deleted without deleting the function.")
    if qualifier in record.aliases:
        raise InvalidParameterValue("Deletion of aliases is not currently supported.")
    pointing = sorted(alias.name for alias in record.aliases.values() if qualifier in alias.versions)
    if pointing:
        raise ResourceConflict(f"Version {qualifier} of {record.name} is in use by alias: {', '.join(pointing)}")
    return replace(without_attachments(record, qualifier), versions=_without(record.versions, qualifier))


def without_attachments(record: FunctionRecord, qualifier: str) -> FunctionRecord:
    """The record without what is attached to a version or alias that is about to go."""
    return replace(
        record,
        urls=_without(record.urls, qualifier),
        policies=_without(record.policies, qualifier),
        event_invoke=_without(record.event_invoke, qualifier),
        provisioned=_without(record.provisioned, qualifier),
        ceilings=_without(record.ceilings, qualifier),
        runtime_management=_without(record.runtime_management, qualifier),
    )


def _without(entries: Mapping[str, V], qualifier: str) -> Mapping[str, V]:
    return {key: value for key, value in entries.items() if key != qualifier}
