"""Every cell of the table of an environment's life."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.scheduler.simulation import function

from hearth_scheduler.core.environment import HISTORY, NEVER, NEXT, Environment, IllegalTransition, Phase, Signal

CELLS = [(phase, signal) for phase in Phase for signal in Signal]


def _in(phase: Phase) -> Environment:
    return Environment("e1", "python3.13", since=1.0, deadline=5.0, phase=phase)


def test_every_phase_has_a_row() -> None:
    assert set(NEXT) == set(Phase)


@pytest.mark.parametrize(("phase", "signal"), [cell for cell in CELLS if cell[1] in NEXT[cell[0]]])
def test_a_legal_signal_leads_where_the_table_says(phase: Phase, signal: Signal) -> None:
    environment = _in(phase)

    assert environment.move(signal, 2.0, 7.0) is NEXT[phase][signal]

    assert environment.phase is NEXT[phase][signal]
    assert (environment.since, environment.deadline) == (2.0, 7.0)
    assert list(environment.history) == [(2.0, signal)]


@pytest.mark.parametrize(("phase", "signal"), [cell for cell in CELLS if cell[1] not in NEXT[cell[0]]])
def test_an_illegal_signal_raises_and_changes_nothing(phase: Phase, signal: Signal) -> None:
    environment = _in(phase)

    with pytest.raises(IllegalTransition, match=f"{signal.value} in <Environment e1 {phase.value} "):
        environment.move(signal, 2.0)

    assert (environment.phase, environment.since, environment.deadline) == (phase, 1.0, 5.0)
    assert not environment.history


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.GONE])
def test_every_phase_but_the_last_can_end_in_death(phase: Phase) -> None:
    assert NEXT[phase][Signal.DIED] is Phase.GONE


@given(st.lists(st.sampled_from(Signal), max_size=60))
def test_gone_is_for_ever_and_the_history_is_bounded(signals: list[Signal]) -> None:
    environment = _in(Phase.STARTING)
    was_gone = False
    for at, signal in enumerate(signals):
        try:
            environment.move(signal, float(at))
        except IllegalTransition:
            continue
        assert not was_gone
        was_gone = environment.phase is Phase.GONE
    assert len(environment.history) <= HISTORY


def test_a_move_without_a_deadline_has_none() -> None:
    environment = _in(Phase.STARTING)

    environment.move(Signal.CONNECTED, 2.0)

    assert environment.deadline == NEVER


def test_an_environment_tells_its_story_and_whose_it_is() -> None:
    environment = _in(Phase.STARTING)
    assert environment.story() == "no history"
    environment.move(Signal.CONNECTED, 2.0)
    environment.function = function()
    environment.move(Signal.SPECIALISED, 2.5)

    assert environment.story() == "2.000:connected 2.500:specialised"
    assert repr(environment) == "<Environment e1 init python3.13 hello/$LATEST>"
