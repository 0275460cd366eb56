"""How fast the control plane answers: creating a function, and pages of many of them."""

import time
from collections.abc import Callable
from typing import Any

from tests.bench import functions
from tests.bench.figures import Row, median, ms, percentile, quotient
from tests.bench.measurement import Bench
from tests.bench.subject import ROLE, RUNTIME, Hearth, at_once, package

BAR_CREATE_S = 0.05
BAR_ACTIVE_S = 0.2
BAR_PAGE_RATIO = 1.5
"""A page of many functions beside one of few. The same work, measured on a machine that is not quiet."""
FEW = 10
_CREATIONS = 30
_PAGES = 100
_POLL_S = 0.001


def control_plane(bench: Bench) -> list[Row]:
    """CreateFunction until it answers and until the function is Active; ListFunctions with few and with many."""
    bench.tell("creating functions one after the other")
    hearth, many = bench.hearth, bench.size.many_functions
    names: list[str] = []
    try:
        creation = _creation_row(hearth, names)
        bench.tell(f"creating {many} functions")
        _fill(hearth, names, many)
        with_many = _page_s(hearth)
        # The few are measured second, so that both are measured after the same stir.
        _fill(hearth, names, FEW)
        pages = [_page_row(_page_s(hearth), with_many, many)]
    finally:
        bench.tell("deleting them")
        at_once(lambda name: hearth.api.delete_function(FunctionName=name), names)
    return [creation, *pages]


def _creation_row(hearth: Hearth, names: list[str]) -> Row:
    answered, active = [], []
    for number in range(_CREATIONS):
        name = f"created-{number}"
        began = time.perf_counter()
        _create(hearth, name, functions.revision(number))
        answered.append(time.perf_counter() - began)
        names.append(name)
        while hearth.api.get_function_configuration(FunctionName=name)["State"] != "Active":
            time.sleep(_POLL_S)
        active.append(time.perf_counter() - began)
    create, ready = percentile(answered, 95), percentile(active, 95)
    return Row(
        f"CreateFunction answers / is Active, p95 of {_CREATIONS} (boto3)",
        f"{ms(create)} / {ms(ready)}",
        "",
        None,
        f"{ms(BAR_CREATE_S)} / {ms(BAR_ACTIVE_S)}",
        create <= BAR_CREATE_S and ready <= BAR_ACTIVE_S,
        {
            "create_p50_s": median(answered),
            "create_p95_s": create,
            "active_p50_s": median(active),
            "active_p95_s": ready,
        },
    )


def _page_row(few: float, many: float, count: int) -> Row:
    ratio = quotient(many, few)
    return Row(
        f"a page of ListFunctions with {count} functions, p50 of {_PAGES} (boto3)",
        ms(many),
        f"{ms(few)} with {FEW}",
        ratio,
        f"≤ {BAR_PAGE_RATIO} x",
        None if ratio is None else ratio <= BAR_PAGE_RATIO,
        {"few_s": few, "many_s": many, "functions": count},
    )


def _page_s(hearth: Hearth) -> float:
    """A page of ten, wherever in the list."""
    return median([_timed(lambda: hearth.api.list_functions(MaxItems=FEW)) for _ in range(_PAGES)])


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _fill(hearth: Hearth, names: list[str], count: int) -> None:
    """So many functions in all; those beyond are deleted first."""
    surplus = names[count:]
    at_once(lambda name: hearth.api.delete_function(FunctionName=name), surplus)
    del names[count:]
    fresh = [f"filling-{number}" for number in range(count - len(names))]
    names += fresh
    at_once(lambda name: _create(hearth, name, functions.HELLO), fresh)


def _create(hearth: Hearth, name: str, code: str) -> None:
    hearth.api.create_function(
        FunctionName=name, Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Code={"ZipFile": package(code)}
    )
