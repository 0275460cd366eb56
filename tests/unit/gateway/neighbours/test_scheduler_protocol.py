"""Which operation of EventBridge Scheduler a method and a path mean."""

import pytest

from hearth_gateway.neighbours.calls import CallerError
from hearth_gateway.neighbours.scheduler_protocol import OPERATIONS, route

GROUP = "arn:aws:scheduler:us-east-1:000000000000:schedule-group/nightly"


@pytest.mark.parametrize(
    ("method", "path", "operation", "labels"),
    [
        ("POST", "/schedules/one", "CreateSchedule", {"Name": "one"}),
        ("GET", "/schedules/a%2Eb", "GetSchedule", {"Name": "a.b"}),
        ("PUT", "/schedules/one/", "UpdateSchedule", {"Name": "one"}),
        ("DELETE", "/schedules/one", "DeleteSchedule", {"Name": "one"}),
        ("GET", "/schedules", "ListSchedules", {}),
        ("GET", "/schedule-groups/", "ListScheduleGroups", {}),
        ("POST", "/schedule-groups/nightly", "CreateScheduleGroup", {"Name": "nightly"}),
        (
            "GET",
            f"/tags/{GROUP.replace(':', '%3A').replace('/', '%2F')}",
            "ListTagsForResource",
            {"ResourceArn": GROUP},
        ),
        ("POST", f"/tags/{GROUP}", "TagResource", {"ResourceArn": GROUP}),
        ("DELETE", f"/tags/{GROUP}", "UntagResource", {"ResourceArn": GROUP}),
    ],
)
def test_a_method_and_a_path_are_an_operation(method: str, path: str, operation: str, labels: dict[str, str]) -> None:
    assert route(method, path) == (operation, labels)


@pytest.mark.parametrize(("method", "path"), [("PATCH", "/schedules/one"), ("POST", "/schedules"), ("GET", "/tags")])
def test_what_is_no_operation_is_said_to_be_none(method: str, path: str) -> None:
    with pytest.raises(CallerError) as refused:
        route(method, path)
    assert (refused.value.code, refused.value.status) == ("UnknownOperationException", 404)


def test_every_operation_of_the_service_is_there() -> None:
    assert len(set(OPERATIONS)) == len(OPERATIONS) == 12
