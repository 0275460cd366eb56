"""What all operations of EventBridge share: its errors, names, tags and pages.

Source: Amazon EventBridge API reference; the texts of errors are the service's where they are known.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hearth_gateway.core.bus_rule import DEFAULT_BUS
from hearth_gateway.core.paging import Item, page_of
from hearth_gateway.neighbours.calls import Call, CallerError, Conditions, Members

MAX_PAGE = 100
MAX_TAGS = 50
PASS_ROLE = "iam:PassRole"

Tags = Mapping[str, str]


def invalid(message: str) -> CallerError:
    return CallerError("ValidationException", message)


def invalid_pattern(reason: object) -> CallerError:
    return CallerError("InvalidEventPatternException", f"Event pattern is not valid. Reason: {reason}")


def already_exists(message: str) -> CallerError:
    return CallerError("ResourceAlreadyExistsException", message)


def limit_exceeded() -> CallerError:
    return CallerError("LimitExceededException", "The requested resource exceeds the maximum number allowed.")


def unsupported(what: str) -> CallerError:
    return CallerError("UnsupportedOperation", f"{what} is not available on this platform.")


def bus_name(given: str | None) -> str:
    """The name of a bus that is given by its name or ARN, or not at all."""
    if not given:
        return DEFAULT_BUS
    return given.partition(":event-bus/")[2] if given.startswith("arn:") else given


def refuse(call: Call, *members: str) -> None:
    """Members that could not be kept to are not taken in silence."""
    for name in members:
        if call.get(name):
            raise unsupported(name)


def pass_role(call: Call, role_arn: str | None) -> None:
    """Who gives a rule or target a role needs the right to."""
    if role_arn:
        call.allow(PASS_ROLE, role_arn, {"iam:PassedToService": "events.amazonaws.com"})


def tags_of(given: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags as they are sent, checked."""
    tags = {one["Key"]: one["Value"] for one in given or ()}
    check_tags(tags)
    return tags


def check_tags(tags: Tags) -> None:
    """Raise for too many. TagResource lists no error for a limit, so all operations say this."""
    if len(tags) > MAX_TAGS:
        raise invalid(f"The number of tags of a resource must be at most {MAX_TAGS}.")


def shown_tags(tags: Tags) -> list[Members]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_conditions(tags: Tags) -> Conditions:
    """The condition keys of tags that a request brings."""
    found: dict[str, str | tuple[str, ...]] = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    return {**found, "aws:TagKeys": tuple(tags)} if tags else found


def resource_conditions(tags: Tags) -> Conditions:
    """The condition keys of the tags that a resource has."""
    return {f"aws:ResourceTag/{key}": value for key, value in tags.items()}


def page(call: Call, found: Sequence[tuple[str, Item]], show: Callable[[Item], Any]) -> tuple[list[Any], Members]:
    """One page of what is found, in the order of its keys, and the members that lead to the next."""
    in_order = sorted(found, key=lambda pair: pair[0])
    try:
        items, following = page_of(in_order, call.get("NextToken"), call.get("Limit", MAX_PAGE))
    except ValueError as error:
        raise invalid("Parameter NextToken is not valid.") from error
    return [show(item) for item in items], {} if following is None else {"NextToken": following}


def without_none(members: Mapping[str, Any]) -> Members:
    """An answer's members, without those that were never set."""
    return {name: value for name, value in members.items() if value is not None}
