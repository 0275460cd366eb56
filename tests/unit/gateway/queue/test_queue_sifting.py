"""Which claimed messages are run; and what a receipt handle holds."""

from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.envelope import Head
from hearth_gateway.core.filtering import Filters
from hearth_gateway.core.mapping import SourceKind
from hearth_gateway.core.queue_batch import Message, Origin
from hearth_gateway.core.queue_sifting import is_too_old, sift
from hearth_gateway.queues.receipts import read_receipt, receipt_of

ORIGIN = Origin("arn:aws:sqs:us-east-1:000000000000:jobs", "us-east-1", "000000000000")
NOW = 1_000_000
WANTED = Filters.of(['{"body":{"n":[1]}}'], SourceKind.LIST)
NONE = Filters.of([], SourceKind.LIST)

ages = st.integers(0, 200_000)
bodies = st.sampled_from([b'{"n":1}', b'{"n":2}', b"plain", b"\xff"])


@given(st.lists(st.tuples(bodies, ages), max_size=12), st.booleans(), st.sampled_from([None, -1, 60]))
def test_every_message_is_in_exactly_one_part_in_order(
    given_messages: list[tuple[bytes, int]], is_filtered: bool, max_age_s: int | None
) -> None:
    messages = [
        Message(str(n), body, NOW, head=Head(sent_ms=NOW - age)) for n, (body, age) in enumerate(given_messages)
    ]

    sifted = sift(messages, WANTED if is_filtered else NONE, ORIGIN, max_age_s=max_age_s, now_ms=NOW)

    parts = (sifted.wanted, sifted.dropped, sifted.expired)
    assert sorted((one for part in parts for one in part), key=lambda one: int(one.id)) == messages
    for part in parts:
        assert list(part) == sorted(part, key=lambda one: int(one.id))
    for one in sifted.wanted:
        assert not is_filtered or one.body == b'{"n":1}'
        assert max_age_s != 60 or NOW - one.sent_ms <= 60_000
    for one in sifted.dropped:
        assert is_filtered
        assert one.body != b'{"n":1}'
    for one in sifted.expired:
        assert is_too_old(one, max_age_s, NOW)


def test_what_is_dropped_is_never_too_old() -> None:
    message = Message("1", b"plain", 0)

    assert sift([message], WANTED, ORIGIN, max_age_s=60, now_ms=NOW).dropped == (message,)


words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@given(words, words)
def test_a_receipt_says_which_receive_of_which_message(message_id: str, receive_id: str) -> None:
    assert read_receipt(receipt_of(message_id, receive_id)) == (message_id, receive_id)


@given(st.text(max_size=60))
def test_any_text_is_a_receipt_or_none(text: str) -> None:
    read = read_receipt(text)

    assert read is None or receipt_of(*read) == text
