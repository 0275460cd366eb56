"""What a mapping asks of its messages: filters, age, destinations, the queue's own policy, a slow start."""

import orjson
from tests.unit.gateway.sources.stage import Stage, bad, good, in_virtual_time, mapping

from hearth.core.invocation import Invocation, Outcome
from hearth_gateway.core.envelope import Envelope, Head, pack_envelope, unpack_envelope
from hearth_gateway.core.mapping import TAG_DEAD_LETTER_LIST, TAG_MAX_RECEIVE_COUNT
from hearth_gateway.core.parcel import Attribute
from hearth_gateway.core.queue_batch import Message
from hearth_gateway.core.slow_start import STEP_MS
from hearth_gateway.sources.ports import Redrive

LIST = "arn:hearth:redis:us-east-1:000000000000:hearth/list/jobs"
TOPIC = "arn:aws:sns:us-east-1:000000000000:failed"
DEAD_QUEUE = "arn:aws:sqs:us-east-1:000000000000:graveyard"


def sent(body: bytes, own_id: str = "id-1", *, sent_ms: int = 0) -> bytes:
    head = Head(sent_ms=sent_ms, attributes={"k": Attribute("String", "v")}, group_id="tenant", sender="me")
    return pack_envelope(Envelope(own_id, body, head))


@in_virtual_time
async def test_a_sent_message_is_a_record_with_its_attributes() -> None:
    stage = Stage()
    stage.jobs.push(sent(b"hello", sent_ms=1_000_000_007))
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    [record] = orjson.loads(stage.scheduler.seen[0].payload)["Records"]
    assert (record["messageId"], record["body"]) == ("id-1", "hello")
    assert record["messageAttributes"]["k"]["stringValue"] == "v"
    assert record["md5OfMessageAttributes"] == "0a77b0642718c3d9dd47090567d11e0d"
    assert record["attributes"]["SentTimestamp"] == "1000000007"
    assert (record["attributes"]["SenderId"], record["attributes"]["MessageGroupId"]) == ("me", "tenant")


@in_virtual_time
async def test_what_the_filters_drop_is_done_with_and_never_run() -> None:
    stage = Stage(mapping(filters=('{"body":{"n":[1]}}',)))
    stage.jobs.push(b'{"n":1}', b'{"n":2}', b"plain")
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    assert stage.all_bodies() == ['{"n":1}']
    assert stage.jobs.dead == []


@in_virtual_time
async def test_a_batch_of_which_nothing_is_wanted_runs_nothing() -> None:
    stage = Stage(mapping(filters=('{"body":{"n":[1]}}',)))
    stage.jobs.push(b'{"n":2}')
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    assert (stage.scheduler.seen, stage.scheduler.held) == ([], 0)


@in_virtual_time
async def test_a_message_that_is_too_old_is_dead_without_an_attempt() -> None:
    stage = Stage(mapping(source_arn=LIST, maximum_record_age_s=60))
    now_ms = stage.around.clock.now_ms()
    stage.jobs.push(sent(b"old", "id-1", sent_ms=now_ms - 60_001), sent(b"young", "id-2", sent_ms=now_ms - 59_000))
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    assert stage.all_bodies() == ["young"]
    [dead] = map(orjson.loads, stage.jobs.dead)
    assert (dead["payload"], dead["attempts"]) == ("old", 0)
    assert dead["error"]["errorType"] == "Hearth.MessageExpired"
    assert (dead["attributes"]["k"]["stringValue"], dead["group_id"]) == ("v", "tenant")


@in_virtual_time
async def test_a_message_grows_too_old_while_it_waits_for_its_next_attempt() -> None:
    stage = Stage(mapping(source_arn=LIST, maximum_record_age_s=60, retry_attempts=-1))
    stage.scheduler.answer = lambda invocation: bad()
    stage.jobs.push(b"poison")
    async with stage.playing():
        await stage.until(lambda: bool(stage.jobs.dead))

    dead = orjson.loads(stage.jobs.dead[0])
    assert dead["error"]["errorType"] == "Hearth.MessageExpired"
    assert dead["attempts"] == len(stage.scheduler.seen)


@in_virtual_time
async def test_a_destination_elsewhere_gets_a_parcel_before_the_message_leaves() -> None:
    stage = Stage(mapping(source_arn=LIST, on_failure=TOPIC, retry_attempts=0))
    stage.scheduler.answer = lambda invocation: bad()
    stage.courier.is_down = True
    stage.jobs.push(sent(b"poison"))
    async with stage.playing():
        await stage.until(lambda: "stored" in stage.source.last_result or len(stage.scheduler.seen) == 1)
        assert len(stage.jobs.messages) == 1
        stage.courier.is_down = False
        await stage.until(lambda: stage.is_empty)

    [parcel] = stage.courier.parcels
    assert (parcel.target, parcel.group_id, parcel.deduplication_id) == (TOPIC, "tenant", "id-1")
    assert orjson.loads(parcel.body)["error"]["errorType"] == "ValueError"
    assert (stage.jobs.dead, stage.jobs.elsewhere, len(stage.scheduler.seen)) == ([], {}, 1)


@in_virtual_time
async def test_a_parcel_is_posted_once_though_the_settlement_is_repeated() -> None:
    stage = Stage(mapping(source_arn=LIST, on_failure=TOPIC, retry_attempts=0))
    stage.scheduler.answer = lambda invocation: bad()
    stage.jobs.push(b"poison")
    stage.jobs.fail("settle", applied=False)
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    assert len(stage.courier.parcels) == 1


@in_virtual_time
async def test_the_queues_redrive_policy_sets_attempts_and_takes_the_message_itself() -> None:
    stage = Stage()
    stage.jobs.redrive = Redrive(DEAD_QUEUE, 2)
    stage.scheduler.answer = lambda invocation: bad()
    stage.jobs.push(sent(b"poison"))
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    assert (len(stage.scheduler.seen), stage.jobs.dead) == (2, [])
    [element] = stage.jobs.elsewhere["graveyard"]
    envelope = unpack_envelope(element)
    assert (envelope.id, envelope.body, envelope.head.attributes["k"].value) == ("id-1", b"poison", "v")
    death = envelope.head.death
    assert death is not None
    assert (death.source_arn, death.attempts, death.error["errorType"]) == (stage.mapping.source_arn, 2, "ValueError")


@in_virtual_time
async def test_what_the_mapping_says_comes_before_the_queues_policy() -> None:
    stage = Stage(mapping(tags={TAG_MAX_RECEIVE_COUNT: "1", TAG_DEAD_LETTER_LIST: "mine"}))
    stage.jobs.redrive = Redrive(DEAD_QUEUE, 5)
    stage.scheduler.answer = lambda invocation: bad()
    stage.jobs.push(b"poison")
    async with stage.playing():
        await stage.until(lambda: stage.is_empty)

    assert (len(stage.scheduler.seen), len(stage.jobs.dead), stage.jobs.elsewhere) == (1, 1, {})


@in_virtual_time
async def test_a_backlog_after_a_start_begins_with_one_batch() -> None:
    stage = Stage(mapping(batch_size=1))
    stage.scheduler.places = 50
    stage.jobs.push(*(b"%d" % n for n in range(50)))
    began_ms = stage.around.clock.now_ms()
    with stage.scheduler.held_up():
        async with stage.playing():
            await stage.until(lambda: stage.scheduler.held == 1)
            assert stage.around.clock.now_ms() < began_ms + STEP_MS
            await stage.until(lambda: stage.scheduler.held == 50)
            assert stage.around.clock.now_ms() >= began_ms + 6 * STEP_MS
            stage.scheduler.gate.set()
            await stage.until(lambda: stage.is_empty)


@in_virtual_time
async def test_a_function_that_failed_for_long_is_tried_with_one_batch() -> None:
    stage = Stage(mapping(batch_size=1, source_arn=LIST, retry_attempts=-1))
    stage.scheduler.places = 50
    is_well = True

    def handler(invocation: Invocation) -> Outcome:
        return good() if is_well else bad()

    stage.scheduler.answer = handler
    async with stage.playing():
        stage.jobs.push(*(b"%d" % n for n in range(200)))
        await stage.until(lambda: stage.is_empty)
        is_well = False
        stage.jobs.push(*(b"%d" % n for n in range(30)))
        await stage.until(lambda: stage.around.clock.now_ms() > 1_000_000_000 + 400_000)
        at_once, stage.scheduler.most_held = stage.scheduler.most_held, 0
        await stage.until(lambda: len(stage.scheduler.seen) > 600)
        slowly, is_well = stage.scheduler.most_held, True
        await stage.until(lambda: stage.is_empty)

    assert at_once > slowly
    assert stage.jobs.dead == []


def test_a_message_without_a_time_of_its_own_is_as_old_as_its_first_receipt() -> None:
    assert Message("id", b"x", 5, head=Head(sent_ms=3)).sent_ms == 3
    assert Message("id", b"x", 5).sent_ms == 5
