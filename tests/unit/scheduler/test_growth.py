"""When one more environment is worth it: situations, each in a sentence."""

from hypothesis import given
from hypothesis import strategies as st

from hearth_scheduler.core.growth import CONTAINER_COST_S, STEM_COST_S, Host, Load, decide

HOST = Host(processors=2)
MS = 0.001


def load(
    *,
    lacking: int,
    busy: int = 2,
    base_s: float = MS,
    known: bool = True,
    waited_s: float = 0.0,
    since_growth_s: float = 60.0,
    members: int | None = None,
) -> Load:
    return Load(lacking, busy, members or busy, base_s, known, 0.005, waited_s, since_growth_s)


def test_nobody_waits() -> None:
    assert decide(load(lacking=0), HOST, has_stem=True).more == 0


def test_without_anything_busy_everyone_gets_one() -> None:
    assert decide(load(lacking=25, busy=0, members=0), HOST, has_stem=True).more == 25


def test_a_fast_function_serves_a_short_line_itself() -> None:
    growth = decide(load(lacking=14), HOST, has_stem=True)

    assert growth.more == 0
    assert growth.ask_again_s is not None


def test_a_slow_function_gets_as_many_as_wait() -> None:
    assert decide(load(lacking=63, base_s=0.1), HOST, has_stem=True).more == 63


def test_a_long_line_of_a_fast_function_gets_what_shortens_it_enough() -> None:
    assert decide(load(lacking=100), HOST, has_stem=True).more == 100 * MS / STEM_COST_S - 2


def test_a_container_start_has_to_save_more_than_a_stem_cell() -> None:
    line = load(lacking=100)

    assert decide(line, HOST, has_stem=True).more > 0
    assert decide(line, HOST, has_stem=False).more == 0


def test_up_to_the_number_of_processors_little_has_to_be_saved() -> None:
    line = load(lacking=14, busy=1)

    assert decide(line, Host(processors=1), has_stem=True).more == 0
    assert decide(line, Host(processors=4), has_stem=True).more > 0


def test_a_first_invocation_is_no_measure() -> None:
    growth = decide(load(lacking=60, base_s=5 * MS, known=False), HOST, has_stem=True)

    assert growth.more == 0


def test_without_a_measure_a_long_wait_shows_that_the_function_is_slow() -> None:
    growth = decide(load(lacking=60, base_s=1.0, known=False, waited_s=STEM_COST_S), HOST, has_stem=True)

    assert growth.more == 58


def test_whoever_has_waited_long_gets_one_more_at_a_time() -> None:
    assert decide(load(lacking=14, waited_s=1.0), HOST, has_stem=True).more == 1
    assert decide(load(lacking=14, waited_s=1.0, since_growth_s=MS), HOST, has_stem=True).more == 0


def test_on_a_busy_host_a_long_wait_is_no_reason() -> None:
    assert decide(load(lacking=14, waited_s=1.0), Host(2, is_busy=True), has_stem=True).more == 0


@given(
    st.integers(0, 500),
    st.integers(0, 500),
    st.floats(0, 900),
    st.booleans(),
    st.floats(0, 900),
    st.booleans(),
    st.booleans(),
)
def test_never_more_than_wait_and_always_either_a_number_or_a_time(
    lacking: int, busy: int, base_s: float, known: bool, waited_s: float, has_stem: bool, is_busy: bool
) -> None:
    situation = load(lacking=lacking, busy=busy, base_s=base_s, known=known, waited_s=waited_s)

    growth = decide(situation, Host(2, is_busy), has_stem=has_stem)

    assert 0 <= growth.more <= lacking
    assert growth.ask_again_s is None or growth.ask_again_s > 0
    assert growth.more or growth.ask_again_s or not lacking


def test_the_worked_example_of_the_module() -> None:
    assert decide(load(lacking=63, busy=1, base_s=0.4 * MS), Host(1), has_stem=True).more == 1
    assert decide(load(lacking=62, busy=2, base_s=0.4 * MS), Host(1), has_stem=True).more == 0
    assert CONTAINER_COST_S > STEM_COST_S
