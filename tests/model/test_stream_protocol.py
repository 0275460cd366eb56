"""The stream protocol, all of it: every order of events within small bounds. See docs/stream-protocol.md."""

from dataclasses import replace

import pytest
from tests.model.exploration import Exploration, Finding
from tests.model.stream_protocol import Bounds, Rules, StreamProtocol

CALM = Bounds()
BATCHES = Bounds(batch=2, room=2, retries=1)
LONG = Bounds(lanes=(0, 0, 0), page=3)
"""More than the lane has room for."""


def explore(bounds: Bounds, rules: Rules | None = None) -> Finding:
    protocol = StreamProtocol(bounds, rules)
    finding = Exploration(protocol.first(), protocol.steps, protocol.broken_promise, protocol.is_over).run()
    print(f"{bounds}: {finding.states} states, {finding.steps} steps")
    return finding


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(replace(CALM, crashes=2), id="killed twice"),
        pytest.param(replace(CALM, strays=2), id="cut off twice"),
        pytest.param(replace(CALM, lanes=(0,), retries=1, crashes=1, strays=1), id="cut off and killed"),
        pytest.param(replace(CALM, lanes=(0,), retries=2, crashes=1, strays=1), id="a count that comes late"),
        pytest.param(replace(BATCHES, is_partial=True, crashes=1), id="records listed, and killed"),
        pytest.param(replace(BATCHES, is_partial=True, strays=1), id="records listed, and cut off"),
        pytest.param(replace(BATCHES, is_bisecting=True, crashes=1), id="batches halved, and killed"),
        pytest.param(replace(BATCHES, is_bisecting=True, strays=2), id="batches halved, and cut off"),
        pytest.param(replace(CALM, filtered=1, strays=2), id="filtered"),
        pytest.param(replace(CALM, trims=2, crashes=1), id="trimmed"),
        pytest.param(replace(CALM, trims=1, strays=1), id="trimmed and cut off"),
        pytest.param(replace(LONG, strays=1), id="a full lane that is cut off"),
        pytest.param(replace(LONG, page=2, crashes=1), id="a full lane that is killed"),
        pytest.param(replace(CALM, lanes=(0, 1), crashes=1), id="two lanes that are killed"),
        pytest.param(replace(CALM, lanes=(0, 1), strays=1), id="two lanes that are cut off"),
    ],
)
def test_everything_is_handled_or_accounted_for_in_order_and_never_stuck(bounds: Bounds) -> None:
    finding = explore(bounds)
    assert finding.flaw is None, str(finding.flaw)


@pytest.mark.parametrize(
    ("broken", "bounds", "problem"),
    [
        ("done_is_last", CALM, "neither handled nor given up"),
        ("parcels_go_first", replace(CALM, crashes=1), "neither handled nor given up"),
        ("pending_comes_first", replace(CALM, crashes=1), "no way on"),
        ("lanes_doubt", replace(CALM, strays=1), "no way on"),
        ("reads_are_fenced", replace(CALM, strays=1), "no way on"),
        ("marks_are_recalled", replace(CALM, crashes=1, retries=1), "1 failures of entry 0 are forgotten"),
        ("outcomes_are_repeated", replace(CALM, strays=1), "no way on"),
        ("the_missing_come_first", replace(CALM, lanes=(0, 0, 0, 0, 1), page=3), "is run before those before it"),
        ("the_rest_is_behind", LONG, "no way on"),
        ("lanes_tell", replace(CALM, strays=1), "no way on"),
        ("debts_are_kept", replace(CALM, filtered=1, strays=1), "no way on"),
    ],
)
def test_without_any_of_its_rules_the_protocol_breaks(broken: str, bounds: Bounds, problem: str) -> None:
    """Or the search would prove nothing."""
    finding = explore(bounds, replace(Rules(), **{broken: False}))
    assert finding.flaw is not None
    assert problem in finding.flaw.problem
    print(finding.flaw)
