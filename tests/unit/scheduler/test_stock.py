"""How many stem cells are kept, and how many container starts are under way."""

from hypothesis import given
from hypothesis import strategies as st

from hearth_scheduler.core.stock import FIRST_BACKOFF_S, LAST_BACKOFF_S, MEMORY_S, REFILL_STARTS, Stock

PYTHON, NODE = "python3.13", "nodejs20.x"


def _stock(floor: int = 0, *, ceiling: int = 8, parallel_starts: int = 4) -> Stock:
    return Stock({PYTHON: floor}, ceiling=ceiling, parallel_starts=parallel_starts)


def _fill(stock: Stock, count: int, runtime: str = PYTHON) -> None:
    for number in range(count):
        stock.begin(runtime, f"{runtime}-{number}")
        stock.arrived(runtime, f"{runtime}-{number}")


def _starts(stock: Stock, now: float = 0.0, *, host_is_busy: bool = False, **demand: int) -> list[str]:
    names = {"python": PYTHON, "node": NODE}
    return stock.starts({names[key]: count for key, count in demand.items()}, now, host_is_busy=host_is_busy)


def test_demand_is_served_as_far_as_the_governor_allows() -> None:
    assert _starts(_stock(), python=2) == [PYTHON] * 2
    assert _starts(_stock(parallel_starts=3), python=9) == [PYTHON] * 3


def test_what_is_on_its_way_is_not_started_again() -> None:
    stock = _stock()
    stock.begin(PYTHON, "a")

    assert _starts(stock, python=2) == [PYTHON]


def test_the_governor_counts_the_starts_of_all_runtimes() -> None:
    stock = _stock(parallel_starts=2)
    stock.begin(NODE, "a")

    assert _starts(stock, python=5) == [PYTHON]


def test_the_floor_is_refilled_few_at_a_time_when_nobody_waits() -> None:
    assert _starts(_stock(floor=8)) == [PYTHON] * REFILL_STARTS


def test_nothing_is_refilled_while_somebody_waits() -> None:
    stock = _stock(floor=8, parallel_starts=1)
    stock.begin(NODE, "a")

    assert _starts(stock, node=3) == []


def test_a_busy_host_refills_one_at_a_time_and_yet_comes_to_an_end() -> None:
    stock = _stock(floor=8)
    assert _starts(stock, host_is_busy=True) == [PYTHON]

    _fill(stock, 7)
    assert _starts(stock, host_is_busy=True) == [PYTHON]

    stock.begin(PYTHON, "the last one")
    assert _starts(stock, host_is_busy=True) == []


def test_the_newest_cell_is_taken_first() -> None:
    stock = _stock()
    _fill(stock, 3)

    assert stock.take(PYTHON, 0.0) == f"{PYTHON}-2"


def test_the_stock_follows_demand_up_to_the_ceiling_and_forgets_it() -> None:
    stock = _stock(floor=1, ceiling=3)
    _fill(stock, 5)
    for _ in range(5):
        stock.take(PYTHON, 10.0)
    shelf = stock.shelf(PYTHON)

    assert stock.target(shelf, 10.0) == 3
    assert stock.target(shelf, 10.0 + MEMORY_S + 1) == 1


def test_a_runtime_without_a_floor_is_never_kept_ready() -> None:
    stock = _stock()
    _fill(stock, 2, NODE)
    stock.take(NODE, 0.0)

    assert stock.target(stock.shelf(NODE), 0.0) == 0
    assert stock.surplus(0.0) == [f"{NODE}-0"]


def test_the_oldest_cells_are_the_surplus() -> None:
    stock = _stock(floor=1)
    _fill(stock, 3)

    assert stock.surplus(0.0) == [f"{PYTHON}-0", f"{PYTHON}-1"]


def test_failed_starts_wait_longer_and_longer_and_a_success_ends_that() -> None:
    stock, now, waits = _stock(), 100.0, []
    for number in range(10):
        stock.begin(PYTHON, str(number))
        stock.lost(PYTHON, str(number), now)
        waits.append(round(stock.paused_until - now, 6))
        assert _starts(stock, now, python=1) == []
        assert _starts(stock, stock.paused_until, python=1) == [PYTHON]
    assert waits[:3] == [FIRST_BACKOFF_S, 2 * FIRST_BACKOFF_S, 4 * FIRST_BACKOFF_S]
    assert waits[-1] == LAST_BACKOFF_S

    _fill(stock, 1)
    stock.begin(PYTHON, "again")
    stock.lost(PYTHON, "again", now)

    assert round(stock.paused_until - now, 6) == FIRST_BACKOFF_S


def test_a_ready_cell_that_is_lost_is_no_failed_start() -> None:
    stock = _stock()
    _fill(stock, 1)

    stock.lost(PYTHON, f"{PYTHON}-0", 5.0)

    assert stock.counts() == {PYTHON: (0, 0)}
    assert stock.paused_until == 0.0


def test_a_start_that_became_a_functions_is_neither_failure_nor_stock() -> None:
    stock = _stock()
    stock.begin(PYTHON, "a")

    stock.left_start(PYTHON, "a")

    assert stock.counts() == {PYTHON: (0, 0)}
    assert stock.paused_until == 0.0


@given(
    st.dictionaries(st.sampled_from([PYTHON, NODE]), st.integers(0, 9)),
    st.integers(0, 6),
    st.integers(0, 6),
    st.integers(1, 6),
    st.booleans(),
)
def test_starts_under_way_never_exceed_the_governor(
    demand: dict[str, int], starting: int, floor: int, parallel_starts: int, host_is_busy: bool
) -> None:
    stock = _stock(floor, parallel_starts=parallel_starts)
    for number in range(starting):
        stock.begin(PYTHON, str(number))

    started = stock.starts(demand, 0.0, host_is_busy=host_is_busy)

    assert len(started) <= max(0, parallel_starts - starting)
    if any(demand.values()):
        assert all(started.count(runtime) <= demand.get(runtime, 0) for runtime in started)
