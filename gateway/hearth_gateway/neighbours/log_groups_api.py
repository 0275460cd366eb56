"""CloudWatch Logs' operations on log groups: making, describing, keeping, tagging and deleting them.

Source: Amazon CloudWatch Logs API reference; the texts of errors are the service's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hearth.core.arns import log_group_arn, log_stream_arn
from hearth.core.errors import ResourceNotFound
from hearth.log_archive import LogArchive
from hearth.log_groups import LogGroup
from hearth_gateway.core.authorization import Place
from hearth_gateway.core.paging import Item, page_of
from hearth_gateway.neighbours.calls import Call, CallerError, Handler, Members

PAGE = 50
MAX_TAGS = 50
RETENTION_DAYS = frozenset({
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
})  # fmt: skip

_MARK = ":log-group:"


def invalid(message: str) -> CallerError:
    return CallerError("InvalidParameterException", message)


def already_exists(what: str) -> CallerError:
    return CallerError("ResourceAlreadyExistsException", f"The specified {what} already exists")


def group_named(call: Call) -> str:
    """The name of the group in a request, which may have its ARN instead."""
    identifier: str | None = call.get("logGroupIdentifier")
    name: str | None = call.get("logGroupName")
    if (name is None) == (identifier is None):
        raise invalid("Exactly one of logGroupName and logGroupIdentifier must be given.")
    return name if name is not None else name_of(identifier or "")


def name_of(identifier: str) -> str:
    """The name of a group that is given by its name or ARN."""
    if not identifier.startswith("arn:"):
        return identifier
    if _MARK not in identifier:
        raise invalid(f"{identifier} is not the ARN of a log group.")
    return identifier.partition(_MARK)[2].removesuffix(":*")


def page(call: Call, found: Sequence[tuple[str, Item]], show: Callable[[Item], Members]) -> tuple[list[Members], str]:
    """One page of a list in the order of its keys, and the token of the next, "" at the end."""
    try:
        items, following = page_of(found, call.get("nextToken"), call.get("limit", PAGE))
    except ValueError as error:
        raise invalid("The specified nextToken is invalid.") from error
    return [show(item) for item in items], following or ""


def with_token(members: dict[str, Any], token: str) -> Members:
    return {**members, "nextToken": token} if token else members


class LogGroupOperations:
    """The operations on log groups."""

    def __init__(self, archive: LogArchive, place: Place) -> None:
        self._archive = archive
        self._place = place

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "CreateLogGroup": self._create,
            "DeleteLogGroup": self._delete,
            "DescribeLogGroups": self._describe,
            "PutRetentionPolicy": self._put_retention,
            "DeleteRetentionPolicy": self._delete_retention,
            "ListTagsForResource": self._list_tags,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsLogGroup": self._list_tags_by_name,
            "TagLogGroup": self._tag_by_name,
            "UntagLogGroup": self._untag_by_name,
        }

    async def _create(self, call: Call) -> Members:
        name, tags = call["logGroupName"], call.get("tags", {})
        call.allow("logs:CreateLogGroup", log_stream_arn(*self._place, name), _tag_conditions(tags))
        for member, usual in (("kmsKeyId", None), ("logGroupClass", "STANDARD"), ("deletionProtectionEnabled", False)):
            if call.get(member, usual) != usual:
                raise invalid(f"{member} is not available on this platform.")
        if not await self._archive.create(name, _checked(tags)):
            raise already_exists("log group")
        return {}

    async def _delete(self, call: Call) -> Members:
        name = self._permitted(call, "DeleteLogGroup", call["logGroupName"])
        await self._archive.delete(name)
        return {}

    async def _describe(self, call: Call) -> Members:
        prefix, pattern = call.get("logGroupNamePrefix", ""), call.get("logGroupNamePattern", "").lower()
        call.allow("logs:DescribeLogGroups", log_stream_arn(*self._place, prefix))
        if prefix and pattern:
            raise invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
        wanted = {name_of(identifier) for identifier in call.get("logGroupIdentifiers", ())}
        found = [
            (group.name, group)
            for group in self._archive.groups()
            if group.name.startswith(prefix)
            and pattern in group.name.lower()
            and (not wanted or group.name in wanted)
            and call.get("logGroupClass", "STANDARD") == "STANDARD"
        ]
        shown, token = page(call, found, self._members)
        sizes = await self._archive.sizes([group["logGroupName"] for group in shown])
        groups = [{**group, "storedBytes": sizes[group["logGroupName"]]} for group in shown]
        return with_token({"logGroups": groups}, token)

    def _members(self, group: LogGroup) -> Members:
        arn = log_group_arn(*self._place, group.name)
        retention = {} if group.retention_days is None else {"retentionInDays": group.retention_days}
        return {
            "logGroupName": group.name,
            "creationTime": group.created_ms,
            "metricFilterCount": 0,
            "arn": f"{arn}:*",
            "logGroupArn": arn,
            "logGroupClass": "STANDARD",
            **retention,
        }

    async def _put_retention(self, call: Call) -> Members:
        days = call["retentionInDays"]
        name = self._permitted(call, "PutRetentionPolicy", call["logGroupName"])
        if days not in RETENTION_DAYS:
            raise invalid(f"Invalid retention value: {days}. It is one of {sorted(RETENTION_DAYS)}")
        await self._archive.retain(name, days)
        return {}

    async def _delete_retention(self, call: Call) -> Members:
        await self._archive.retain(self._permitted(call, "DeleteRetentionPolicy", call["logGroupName"]), None)
        return {}

    # -- tags ------------------------------------------------------------------------------------------------------

    async def _list_tags(self, call: Call) -> Members:
        return {"tags": dict(self._tagged(call, "ListTagsForResource", name_of(call["resourceArn"])).tags)}

    async def _list_tags_by_name(self, call: Call) -> Members:
        return {"tags": dict(self._tagged(call, "ListTagsLogGroup", call["logGroupName"]).tags)}

    async def _tag(self, call: Call) -> Members:
        return await self._add_tags(self._tagged(call, "TagResource", name_of(call["resourceArn"])), call)

    async def _tag_by_name(self, call: Call) -> Members:
        return await self._add_tags(self._tagged(call, "TagLogGroup", call["logGroupName"]), call)

    async def _untag(self, call: Call) -> Members:
        group = self._tagged(call, "UntagResource", name_of(call["resourceArn"]))
        return await self._remove_tags(group, call["tagKeys"])

    async def _untag_by_name(self, call: Call) -> Members:
        return await self._remove_tags(self._tagged(call, "UntagLogGroup", call["logGroupName"]), call["tags"])

    async def _add_tags(self, group: LogGroup, call: Call) -> Members:
        await self._archive.tag(group.name, _checked({**group.tags, **call["tags"]}))
        return {}

    async def _remove_tags(self, group: LogGroup, keys: Sequence[str]) -> Members:
        await self._archive.tag(group.name, {key: value for key, value in group.tags.items() if key not in keys})
        return {}

    def _tagged(self, call: Call, operation: str, name: str) -> LogGroup:
        """The group whose tags are meant; they are asked for by the ARN without its streams."""
        tags = call.get("tags", {})
        given = _tag_conditions(tags) if isinstance(tags, Mapping) else {}
        call.allow(f"logs:{operation}", log_group_arn(*self._place, name), {**self._conditions(name), **given})
        return self._archive.group(name)

    def _permitted(self, call: Call, operation: str, name: str) -> str:
        call.allow(f"logs:{operation}", log_stream_arn(*self._place, name), self._conditions(name))
        return name

    def _conditions(self, name: str) -> Mapping[str, str]:
        try:
            tags = self._archive.group(name).tags
        except ResourceNotFound:
            return {}
        return {f"aws:ResourceTag/{key}": value for key, value in tags.items()}


def _tag_conditions(tags: Mapping[str, str]) -> Mapping[str, str | tuple[str, ...]]:
    found: dict[str, str | tuple[str, ...]] = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    return {**found, "aws:TagKeys": tuple(tags)} if tags else found


def _checked(tags: Mapping[str, str]) -> Mapping[str, str]:
    if len(tags) > MAX_TAGS:
        raise CallerError("TooManyTagsException", f"A log group has at most {MAX_TAGS} tags.")
    return tags
