"""The queue protocol, all of it: every order of events within small bounds. See docs/queue-protocol.md."""

from dataclasses import replace

import pytest
from tests.model.exploration import Exploration, Finding
from tests.model.list_protocol import Bounds, ListProtocol, Rules

CALM = Bounds(crashes=0, cuts=0, lapses=0, platform_failures=0)
STRANGERS = replace(CALM, is_successor=False)
"""Two mappings on one list, instead of one before and after a restart."""


def explore(bounds: Bounds, rules: Rules | None = None) -> Finding:
    protocol = ListProtocol(bounds, rules)
    finding = Exploration(protocol.first(), protocol.steps, protocol.broken_promise, protocol.is_over).run()
    print(f"{bounds}: {finding.states} states, {finding.steps} steps")
    return finding


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(replace(CALM, messages=2, batch=2), id="nothing happens"),
        pytest.param(replace(CALM, crashes=1, platform_failures=1), id="killed anywhere, and the platform fails"),
        pytest.param(replace(CALM, crashes=1, messages=2, max_receive_count=1), id="killed with two messages"),
        pytest.param(replace(CALM, crashes=1, cuts=1, max_receive_count=1), id="cut off and killed"),
        pytest.param(replace(CALM, cuts=1), id="cut off"),
        pytest.param(replace(CALM, cuts=1, messages=2, batch=2, max_receive_count=1), id="cut off with a batch"),
        pytest.param(replace(STRANGERS, cuts=1, max_receive_count=1), id="cut off beside another mapping"),
        pytest.param(replace(STRANGERS, lapses=1, max_receive_count=1), id="silent beside another mapping"),
    ],
)
def test_nothing_is_lost_wrongly_dead_or_ever_stuck(bounds: Bounds) -> None:
    finding = explore(bounds)
    assert finding.flaw is None, str(finding.flaw)


@pytest.mark.parametrize(
    ("broken", "bounds", "problem"),
    [
        ("claims_are_fenced", replace(CALM, cuts=1), "no way on"),
        ("sessions_only_grow", replace(CALM, cuts=1, max_receive_count=1), "no way on"),
        ("enter_restores", replace(CALM, cuts=1), "no way on"),
        ("the_dead_are_taken_over", replace(CALM, crashes=1), "no way on"),
        ("platform_failures_are_uncounted", replace(CALM, platform_failures=1, max_receive_count=1), "is dead after 0"),
        ("only_the_holder_counts", replace(STRANGERS, lapses=1), "due although somebody holds it"),
        ("claim_is_atomic", replace(CALM, crashes=1), "is in 0 places"),
        ("done_is_last", replace(CALM, crashes=1), "done and was never handled"),
    ],
)
def test_without_any_of_its_rules_the_protocol_breaks(broken: str, bounds: Bounds, problem: str) -> None:
    """Or the search would prove nothing."""
    finding = explore(bounds, replace(Rules(), **{broken: False}))
    assert finding.flaw is not None
    assert problem in finding.flaw.problem
    print(finding.flaw)
