"""Events through rules: what is sent to whom, once, and durably before anybody is answered."""

from dataclasses import replace

import orjson
import pytest
from tests.unit.gateway.bus.stage import FUNCTION, PLACE, QUEUE, START_MS, Stage, an_event, bus

from hearth.core.errors import InvalidParameterValue, RequestTooLarge, ResourceNotFound, ServiceError
from hearth_gateway.asynchronous.ports import TargetRefused, TargetUnavailable
from hearth_gateway.bus.bus_target import BusTarget
from hearth_gateway.bus.event_buses import MAX_POST_BYTES, Posted
from hearth_gateway.core.bus_rule import Bus, Rule, RuleState, Target, ready
from hearth_gateway.core.input_transformer import MAX_INPUT_BYTES
from hearth_gateway.core.parcel import Parcel

RULE_ARN = "arn:aws:events:us-east-1:000000000000:rule/paid"


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def post(stage: Stage, *events: Posted) -> None:
    await stage.buses.post(events)


async def test_a_matching_rule_sends_the_event_to_each_of_its_targets(stage: Stage) -> None:
    await stage.rule("paid", Target("1", FUNCTION), Target("2", QUEUE), pattern='{"detail": {"state": ["paid"]}}')
    await post(stage, Posted("default", an_event(state="paid")), Posted("default", an_event("e-2", state="open")))
    event = an_event(state="paid").text
    assert stage.sent == [(FUNCTION, event), (QUEUE, event)]


async def test_a_parcel_says_who_sends_it_and_how_long_it_may_take(stage: Stage) -> None:
    given = Target("1", QUEUE + ".fifo", group_id="g", max_age_s=60, retry_attempts=0, dead_letter_arn=QUEUE)
    await stage.rule("paid", given, Target("2", QUEUE))
    await post(stage, Posted("default", an_event()))
    asked, usual = stage.courier.parcels
    assert (asked.sender, asked.service, asked.accepted_ms) == (RULE_ARN, "events.amazonaws.com", START_MS)
    assert (asked.max_age_s, asked.max_attempts, asked.dead_letter_arn) == (60, 1, QUEUE)
    assert (asked.group_id, asked.deduplication_id) == ("g", asked.id)
    assert (usual.max_age_s, usual.max_attempts, usual.dead_letter_arn) == (86_400, 186, None)
    assert (usual.group_id, usual.deduplication_id) == ("", "")


async def test_a_stream_gets_its_partition_key_from_the_event(stage: Stage) -> None:
    stream = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
    await stage.rule(
        "paid",
        Target("1", stream, partition_key_path="$.detail.customer"),
        Target("2", stream, partition_key_path="$.detail.nobody"),
    )
    await post(stage, Posted("default", an_event(customer=7)))
    assert [parcel.group_id for parcel in stage.courier.parcels] == ["7", "e-1"]


async def test_an_event_that_is_put_again_makes_the_same_parcels(stage: Stage) -> None:
    await stage.rule("paid", Target("1", FUNCTION), Target("2", FUNCTION))
    await stage.rule("other", Target("1", FUNCTION))
    for _ in range(2):
        await post(stage, Posted("default", an_event()))
    assert len(stage.courier.parcels) == 3


async def test_all_parcels_of_a_call_are_posted_together_and_a_courier_that_is_down_fails_it(stage: Stage) -> None:
    await stage.rule("paid", Target("1", FUNCTION))
    stage.courier.is_down = True
    with pytest.raises(ServiceError):
        await post(stage, Posted("default", an_event()))
    stage.courier.is_down = False
    await post(stage, Posted("default", an_event()))
    assert len(stage.sent) == 1


async def test_rules_of_other_buses_disabled_ones_and_schedules_are_not_asked(stage: Stage) -> None:
    await stage.catalogue.put(Bus("shop", START_MS, START_MS))
    await stage.rule("paid", Target("1", FUNCTION), bus="shop")
    await stage.catalogue.put(
        Rule("off", "default", START_MS, RuleState.DISABLED, '{"source": ["shop"]}', targets=(Target("1", FUNCTION),))
    )
    await stage.catalogue.put(
        Rule("nightly", "default", START_MS, schedule="rate(1 day)", targets=(Target("1", FUNCTION),))
    )
    await post(stage, Posted("default", an_event()))
    assert stage.sent == []


async def test_an_event_from_another_bus_is_not_forwarded_to_a_third(stage: Stage) -> None:
    await stage.catalogue.put(Bus("second", START_MS, START_MS))
    await stage.rule("on", Target("1", bus("second")))
    await stage.rule("back", Target("1", bus("default")), Target("2", FUNCTION), bus="second")
    await post(stage, Posted("default", an_event()))
    (forwarded,) = stage.courier.parcels
    await BusTarget(stage.buses).deliver(replace(forwarded, trace_id="Root=1"))
    assert stage.courier.parcels[-1].trace_id == "Root=1"
    assert [target for target, _ in stage.sent] == [bus("second"), FUNCTION]


async def test_an_event_from_a_courier_is_completed(stage: Stage) -> None:
    await stage.rule("paid", Target("1", FUNCTION), pattern='{"account": ["000000000000"], "detail": {"a": [1]}}')
    body = orjson.dumps({"source": "lambda", "detail-type": "result", "detail": {"a": 1}, "resources": ["r"]})
    await stage.buses.put("default", body, event_id="p-1", sender="arn:aws:lambda:us-east-1:000000000000:function:g")
    assert orjson.loads(stage.sent[0][1]) == {
        "version": "0",
        "id": "p-1",
        "detail-type": "result",
        "source": "lambda",
        "account": "000000000000",
        "time": "2026-11-21T10:00:00Z",
        "region": "us-east-1",
        "resources": ["r"],
        "detail": {"a": 1},
    }


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"source": "s", "detail": {}}', b'{"source": "", "detail-type": "t", "detail": {}}',
             b'{"source": "s", "detail-type": "t", "detail": 1}']
)  # fmt: skip
async def test_what_is_no_event_is_refused_for_good(stage: Stage, body: bytes) -> None:
    with pytest.raises(InvalidParameterValue):
        await stage.buses.put("default", body, event_id="1")
    with pytest.raises(TargetRefused):
        await BusTarget(stage.buses).deliver(Parcel("1", bus("default"), body, START_MS))


async def test_a_bus_that_is_not_there_refuses_and_a_store_that_is_down_is_tried_again(stage: Stage) -> None:
    with pytest.raises(ResourceNotFound):
        await stage.buses.put("nobody", an_event().text, event_id="1")
    with pytest.raises(TargetRefused) as refused:
        await BusTarget(stage.buses).deliver(Parcel("1", bus("nobody"), an_event().text, START_MS))
    assert refused.value.code == "ResourceNotFoundException"
    await stage.rule("paid", Target("1", FUNCTION))
    stage.courier.is_down = True
    with pytest.raises(TargetUnavailable):
        await BusTarget(stage.buses).deliver(Parcel("1", bus("default"), an_event().text, START_MS))


async def test_what_grows_too_large_goes_to_the_dead_letter_queue_as_it_is(stage: Stage) -> None:
    template = f"[{','.join(['<aws.events.event.json>'] * 3)}]"
    await stage.rule(
        "paid",
        Target("1", FUNCTION, input_template=template, dead_letter_arn=QUEUE),
        Target("2", FUNCTION, input_template=template),
        Target("3", FUNCTION),
    )
    event = an_event(text="x" * (MAX_INPUT_BYTES // 2))
    await post(stage, Posted("default", event))
    assert stage.sent == [(QUEUE, event.text), (FUNCTION, event.text)]
    said = {name: attribute.value for name, attribute in stage.courier.parcels[0].attributes.items()}
    assert said["RULE_ARN"] == RULE_ARN
    assert said["TARGET_ARN"] == FUNCTION


async def test_what_is_posted_in_one_step_is_bounded(stage: Stage) -> None:
    event = an_event(text="x" * (MAX_POST_BYTES // 64))
    for number in range(13):
        await stage.rule(f"r{number}", *(Target(str(place), FUNCTION) for place in range(5)))
    with pytest.raises(RequestTooLarge):
        await post(stage, Posted("default", event))
    assert stage.sent == []
    await stage.catalogue.remove(stage.catalogue.rule("default", "r1"))
    await post(stage, Posted("default", event))
    assert len(stage.sent) == 60


async def test_everything_is_there_again_after_a_restart(stage: Stage) -> None:
    rule = Rule(
        "paid",
        "shop",
        START_MS,
        pattern='{"source": ["shop"]}',
        tags={"a": "b"},
        targets=(Target("1", FUNCTION, input_template="<x>", input_paths={"x": "$.detail"}, max_age_s=60),),
    )
    await stage.catalogue.put(Bus("shop", START_MS, START_MS, "orders", {"t": "v"}))
    await stage.catalogue.put(rule)
    before = stage.catalogue.bus("shop")
    stage.restart()
    await stage.catalogue.load()
    assert [one.name for one in stage.catalogue.buses()] == ["default", "shop"]
    assert stage.catalogue.bus("shop") == before
    assert stage.catalogue.rule("shop", "paid") == rule
    assert stage.catalogue.ready_rules("shop") == (ready(rule, PLACE),)
    await stage.catalogue.remove(replace(rule))
    stage.restart()
    await stage.catalogue.load()
    assert stage.catalogue.find_rule("shop", "paid") is None


async def test_a_record_that_cannot_be_read_keeps_none_of_the_others_away(stage: Stage) -> None:
    await stage.rule("good", Target("1", FUNCTION))
    await stage.store.put("rule:default|bad", b'{"name": 1}')
    await stage.store.put("rule:default|worse", b'{"name":"worse","bus":"default","enabled_ms":1,"pattern":"{}"}')
    stage.restart()
    await stage.catalogue.load()
    assert [rule.name for rule in stage.catalogue.rules("default")] == ["good"]
