"""Schedule groups and their tags: the operations of EventBridge Scheduler on them.

Source: `CreateScheduleGroup`, `TagResource` and their kin in the EventBridge Scheduler API reference.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from hearth_gateway.core.firing import MissedFirings
from hearth_gateway.core.schedule import DEFAULT_GROUP, MISSED_TAG, ScheduleGroup
from hearth_gateway.neighbours import scheduler_answers as answers
from hearth_gateway.neighbours.calls import Call, Handler, Members
from hearth_gateway.schedules.book import ScheduleBook

MAX_GROUPS = 500
MAX_TAGS = 50

_POLICIES = tuple(policy.value for policy in MissedFirings)


class ScheduleGroupOperations:
    """Groups, and their tags."""

    def __init__(self, book: ScheduleBook, now_ms: Callable[[], int]) -> None:
        self._book = book
        self._now_ms = now_ms
        place = book.place
        self._stem = f"arn:aws:scheduler:{place.region}:{place.account}:schedule-group/"

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "CreateScheduleGroup": self._create,
            "GetScheduleGroup": self._get,
            "DeleteScheduleGroup": self._delete,
            "ListScheduleGroups": self._list,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": self._list_tags,
        }

    async def _create(self, call: Call) -> Members:
        name, token = call["Name"], call.get("ClientToken", "")
        call.allow("scheduler:CreateScheduleGroup", self._stem + name, _tag_conditions(call))
        now_ms = self._now_ms()
        group = ScheduleGroup(name, now_ms, now_ms, _tags_given(call, {}), token)
        async with self._book.changing:
            found = self._book.group(name)
            if found is not None and not (token and token == found.client_token and found.tags == group.tags):
                raise answers.conflict(f"Schedule group {name} already exists.")
            if found is None:
                if len(self._book.groups()) >= MAX_GROUPS:
                    raise answers.quota_exceeded("The number of schedule groups has reached its quota.")
                await self._book.put_group(group)
        return {"ScheduleGroupArn": self._stem + name}

    async def _get(self, call: Call) -> Members:
        name = call["Name"]
        group = self._permitted(call, "GetScheduleGroup", name)
        return answers.group_members(group, self._stem + name)

    async def _delete(self, call: Call) -> Members:
        name = call["Name"]
        async with self._book.changing:
            group = self._permitted(call, "DeleteScheduleGroup", name)
            if name == DEFAULT_GROUP:
                raise answers.invalid("The default schedule group cannot be deleted.")
            await self._book.delete_group(group)
        return {}

    async def _list(self, call: Call) -> Members:
        prefix = call.get("NamePrefix", "")
        call.allow("scheduler:ListScheduleGroups", f"{self._stem}*")
        found = [group for group in self._book.groups() if group.name.startswith(prefix)]
        items, more = answers.page(call, found, lambda group: group.name)
        shown = [answers.group_members(group, self._stem + group.name) for group in items]
        return {"ScheduleGroups": shown, **more}

    async def _tag(self, call: Call) -> Members:
        async with self._book.changing:
            group = self._tagged(call, "TagResource")
            await self._book.put_group(replace(group, tags=_tags_given(call, group.tags), modified_ms=self._now_ms()))
        return {}

    async def _untag(self, call: Call) -> Members:
        async with self._book.changing:
            group = self._tagged(call, "UntagResource")
            left = {key: value for key, value in group.tags.items() if key not in call["TagKeys"]}
            await self._book.put_group(replace(group, tags=left, modified_ms=self._now_ms()))
        return {}

    async def _list_tags(self, call: Call) -> Members:
        group = self._tagged(call, "ListTagsForResource")
        return {"Tags": [{"Key": key, "Value": value} for key, value in group.tags.items()]}

    def _tagged(self, call: Call, operation: str) -> ScheduleGroup:
        arn: str = call["ResourceArn"]
        name = arn.removeprefix(self._stem)
        return self._permitted(call, operation, name, arn)

    def _permitted(self, call: Call, operation: str, name: str, arn: str = "") -> ScheduleGroup:
        """The group, once the caller may do that to it. Who may not is told that, whether or not it is there."""
        group = self._book.group(name)
        tags = {} if group is None else {f"aws:ResourceTag/{key}": value for key, value in group.tags.items()}
        call.allow(f"scheduler:{operation}", arn or self._stem + name, {**tags, **_tag_conditions(call)})
        if group is None:
            raise answers.not_found(f"Schedule group {name} does not exist.")
        return group


def _tags_given(call: Call, before: Mapping[str, str]) -> dict[str, str]:
    tags = {**before, **{tag["Key"]: tag["Value"] for tag in call.get("Tags", ())}}
    if len(tags) > MAX_TAGS:
        raise answers.invalid(f"The number of tags has reached the maximum limit of {MAX_TAGS}.")
    if tags.get(MISSED_TAG, _POLICIES[0]) not in _POLICIES:
        raise answers.invalid(f"The tag {MISSED_TAG} must be one of {', '.join(_POLICIES)}.")
    return tags


def _tag_conditions(call: Call) -> dict[str, str | tuple[str, ...]]:
    given = {tag["Key"]: tag["Value"] for tag in call.get("Tags", ())}
    keys = (*given, *call.get("TagKeys", ()))
    asked: dict[str, str | tuple[str, ...]] = {f"aws:RequestTag/{key}": value for key, value in given.items()}
    return {**asked, "aws:TagKeys": keys} if keys else asked
