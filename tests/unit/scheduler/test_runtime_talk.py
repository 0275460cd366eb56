"""The conversation with a runtime: any sequence of messages, in or out of turn."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearth_scheduler.core.runtime_talk import OutOfTurn, RuntimeTalk, Turn

IDS = ("one", "two")
MESSAGES: dict[str, Callable[[RuntimeTalk], None]] = {
    "next": lambda talk: talk.next(),
    "init error": lambda talk: talk.init_error(),
    **{f"event {each}": lambda talk, each=each: talk.event(each) for each in IDS},  # type: ignore[misc]  # mypy does not see the default
    **{f"answer {each}": lambda talk, each=each: talk.answer(each) for each in IDS},  # type: ignore[misc]
    **{f"error {each}": lambda talk, each=each: talk.answer(each, is_error=True) for each in IDS},  # type: ignore[misc]
    **{f"begin {each}": lambda talk, each=each: talk.begin(each) for each in IDS},  # type: ignore[misc]
    **{f"piece {each}": lambda talk, each=each: talk.piece(each) for each in IDS},  # type: ignore[misc]
    **{f"end {each}": lambda talk, each=each: talk.end(each) for each in IDS},  # type: ignore[misc]
}


@given(st.lists(st.sampled_from(sorted(MESSAGES)), max_size=30))
def test_a_refused_message_changes_nothing_and_every_event_is_answered_once(messages: list[str]) -> None:
    talk = RuntimeTalk()
    open_event = streaming = ""
    for message in messages:
        before = (talk.turn, talk.request_id)
        what, _, request_id = message.partition(" ")
        try:
            MESSAGES[message](talk)
        except OutOfTurn as refused:
            assert (talk.turn, talk.request_id) == before
            assert (refused.status, refused.error_type) in {(400, "InvalidRequestID"), (403, "InvalidStateTransition")}
            continue
        assert before[0] is not Turn.FAILED
        if what == "event":
            assert not open_event
            open_event = request_id
        elif what == "begin":
            assert open_event == request_id and not streaming
            streaming = request_id
        elif what == "piece":
            assert open_event == streaming == request_id
        elif what in ("answer", "error", "end"):
            assert open_event == request_id
            assert what == "error" or bool(streaming) == (what == "end")
            open_event = streaming = ""
        elif what == "next":
            assert not open_event


def test_the_whole_conversation_in_order() -> None:
    talk = RuntimeTalk()
    turns = []
    for message in ("next", "event one", "answer one", "next", "event two", "answer two", "next"):
        MESSAGES[message](talk)
        turns.append(talk.turn)

    turn = Turn
    assert turns == [turn.WAITING, turn.RUNNING, turn.ANSWERED, turn.WAITING, turn.RUNNING, turn.ANSWERED, turn.WAITING]


def test_a_stream_in_order() -> None:
    messages = ("next", "event one", "begin one", "piece one", "end one")
    turns = [_after(*messages[:count]).turn for count in range(3, 6)]

    assert turns == [Turn.STREAMING, Turn.STREAMING, Turn.ANSWERED]


def test_a_stream_can_end_with_an_error_but_not_with_another_response() -> None:
    talk = _after("next", "event one", "begin one")

    with pytest.raises(OutOfTurn):
        talk.answer("one")
    talk.answer("one", is_error=True)

    assert talk.turn is Turn.ANSWERED


def test_a_second_answer_is_out_of_turn() -> None:
    talk = _after("next", "event one", "answer one")

    with pytest.raises(OutOfTurn) as refused:
        talk.answer("one")

    assert refused.value.status == 403


def test_an_answer_to_another_event_is_an_invalid_id() -> None:
    talk = _after("next", "event one")

    with pytest.raises(OutOfTurn) as refused:
        talk.answer("two")

    assert (refused.value.status, refused.value.error_type) == (400, "InvalidRequestID")


def test_after_a_failed_init_there_is_no_next() -> None:
    talk = _after("init error")

    with pytest.raises(OutOfTurn):
        talk.next()


def test_init_can_fail_only_during_init() -> None:
    with pytest.raises(OutOfTurn):
        _after("next").init_error()


def test_asking_twice_is_asking_once() -> None:
    talk = _after("next", "next")

    assert talk.turn is Turn.WAITING


def _after(*messages: str) -> RuntimeTalk:
    talk = RuntimeTalk()
    for message in messages:
        MESSAGES[message](talk)
    return talk
