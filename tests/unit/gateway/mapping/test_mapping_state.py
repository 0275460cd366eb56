"""The states of a mapping: every wish ends at rest, and late news changes nothing."""

from hypothesis import given
from hypothesis import strategies as st

from hearth_gateway.core.mapping_state import SETTLED, STEPS, News, State, Wish, after_news, after_wish

TRANSITIONAL = frozenset(State) - SETTLED - {State.GONE}


@given(st.sampled_from(sorted(TRANSITIONAL, key=str)), st.sampled_from(Wish))
def test_a_wish_during_a_transition_is_refused(state: State, wish: Wish) -> None:
    assert after_wish(state, wish) is None


@given(st.sampled_from(sorted(SETTLED, key=str)), st.sampled_from(Wish))
def test_a_wish_at_rest_begins_a_transition(state: State, wish: Wish) -> None:
    assert after_wish(state, wish) in TRANSITIONAL


@given(st.sampled_from(State), st.sampled_from(News))
def test_news_that_fits_nothing_changes_nothing(state: State, news: News) -> None:
    if (state, news) not in STEPS:
        assert after_news(state, news) is state


@given(st.lists(st.sampled_from([*Wish, *News])))
def test_no_history_leaves_the_table_and_gone_is_for_ever(history: list[Wish | News]) -> None:
    state = State.CREATING
    for step in history:
        before = state
        state = (after_wish(state, step) or state) if isinstance(step, Wish) else after_news(state, step)
        assert before is not State.GONE or state is State.GONE
        assert state is before or STEPS[(before, step)] is state


def test_every_transition_can_end() -> None:
    for state in TRANSITIONAL:
        ends = {after_news(state, news) for news in News} - {state}
        assert ends
        assert ends <= SETTLED | {State.GONE}
