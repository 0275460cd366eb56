"""Sources as ARNs, and where failures go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.sources.stage import mapping

from hearth.core.errors import InvalidParameterValue
from hearth_gateway.core.addresses import ListAddress, QueueAddress, SourceAddress, parse_target
from hearth_gateway.core.mapping import parse_source
from hearth_gateway.core.mapping_rules import checked

OWN = "arn:hearth:redis:us-east-1:000000000000:shop/list/orders"


@pytest.mark.parametrize(
    ("arn", "address"),
    [
        ("arn:aws:sqs:us-east-1:000000000000:jobs", QueueAddress("jobs")),
        ("arn:aws:sqs:eu-west-1:123456789012:a:b.c", QueueAddress("a:b.c")),
        (OWN, ListAddress("shop", "orders")),
        (f"{OWN}:new/list/x {{tag}}", ListAddress("shop", "orders:new/list/x {tag}")),
    ],
)
def test_an_arn_names_a_list(arn: str, address: ListAddress) -> None:
    assert parse_source(arn) == address


@given(st.text(max_size=80))
def test_any_other_text_is_refused_and_never_breaks(text: str) -> None:
    try:
        address = parse_source(text)
    except InvalidParameterValue:
        return
    assert isinstance(address, SourceAddress)


@given(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.text(min_size=1, max_size=40))
def test_every_key_of_a_connection_can_be_named(connection: str, key: str) -> None:
    if not key.startswith("hearth:"):
        arn = f"arn:hearth:redis:us-east-1:000000000000:{connection}/list/{key}"
        assert parse_source(arn) == ListAddress(connection, key)


@pytest.mark.parametrize("name", ["hearth:functions", "a b"])
def test_our_own_keys_and_names_of_no_queue_are_no_sources(name: str) -> None:
    with pytest.raises(InvalidParameterValue):
        parse_source(f"arn:aws:sqs:us-east-1:000000000000:{name}")


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:sqs:us-east-1:000000000000:hearth:functions",
        "arn:aws:kinesis:us-east-1:000000000000:stream/hearth:functions",
        "arn:hearth:redis:us-east-1:000000000000:hearth/list/hearth:functions",
        "arn:hearth:redis:us-east-1:000000000000:hearth/stream/hearth:functions",
    ],
)
def test_our_own_keys_are_no_targets(arn: str) -> None:
    assert parse_target(arn) is None
    assert parse_target(arn.replace("hearth:functions", "functions")) is not None
    with pytest.raises(InvalidParameterValue):
        checked(mapping(source_arn=OWN, on_failure=arn), {"shop"})


def test_retries_are_counted_from_the_parameter_then_the_tag_then_the_setting() -> None:
    tags = {"hearth:max-receive-count": "7"}

    assert mapping().retry_policy(5).max_receive_count == 5
    assert mapping(tags=tags).retry_policy(5).max_receive_count == 7
    assert mapping(source_arn=OWN, retry_attempts=2, tags=tags).retry_policy(5).max_receive_count == 3
    assert mapping(source_arn=OWN, retry_attempts=-1).retry_policy(5).max_receive_count is None


def test_the_dead_letter_list_is_the_destination_then_the_tag_then_the_default() -> None:
    tags = {"hearth:dead-letter-list": "failed"}

    assert mapping().dead_letter_key == "jobs:dead"
    assert mapping(tags=tags).dead_letter_key == "failed"
    assert mapping(source_arn=OWN, tags=tags, on_failure=f"{OWN}-failed").dead_letter_key == "orders-failed"


def test_a_destination_elsewhere_is_posted_to_and_one_beside_the_source_is_not() -> None:
    elsewhere = "arn:hearth:redis:us-east-1:000000000000:bank/list/failed"
    topic = "arn:aws:sns:us-east-1:000000000000:failed"
    own = "arn:hearth:redis:us-east-1:000000000000:hearth/list/jobs"
    queue = "arn:aws:sqs:us-east-1:000000000000:failed"

    for destination in (elsewhere, topic, queue):
        posted = checked(mapping(source_arn=OWN, on_failure=destination), {"shop", "bank"})
        assert (posted.is_failure_posted, posted.failure_key) == (True, None)
    for destination in (f"{own}-failed", queue):
        beside = checked(mapping(source_arn=own, on_failure=destination), ())
        assert not beside.is_failure_posted
        assert beside.dead_letter_key == beside.failure_key
    assert not mapping(source_arn=OWN).is_failure_posted


def test_a_list_is_no_dead_letter_list_of_its_own() -> None:
    with pytest.raises(InvalidParameterValue, match="DestinationConfig"):
        checked(mapping(source_arn=OWN, on_failure=OWN), {"shop"})


def test_a_list_that_keeps_order_takes_small_batches_without_a_window() -> None:
    fifo = "arn:hearth:redis:us-east-1:000000000000:hearth/list/jobs.fifo"
    assert mapping(source_arn=fifo).is_fifo
    with pytest.raises(InvalidParameterValue, match="FIFO"):
        checked(mapping(source_arn=fifo, window_s=1), ())
