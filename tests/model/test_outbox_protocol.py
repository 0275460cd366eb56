"""Timers, events and parcels, all of it: every order of events within small bounds."""

from dataclasses import replace

import pytest
from tests.model.exploration import Exploration, Finding
from tests.model.outbox_protocol import Bounds, OutboxProtocol, Rules

CALM = Bounds()


def explore(bounds: Bounds, rules: Rules | None = None) -> Finding:
    protocol = OutboxProtocol(bounds, rules)
    finding = Exploration(protocol.first(), protocol.steps, protocol.broken_promise, protocol.is_over).run()
    print(f"{bounds}: {finding.states} states, {finding.steps} steps")
    return finding


@pytest.mark.parametrize("bounds", [Bounds(crashes=3), Bounds(strays=3), Bounds(crashes=2, strays=2)], ids=str)
def test_what_was_posted_is_done_and_what_follows_is_delivered(bounds: Bounds) -> None:
    finding = explore(bounds)
    assert finding.flaw is None, str(finding.flaw)


@pytest.mark.parametrize(
    ("broken", "bounds", "problem"),
    [
        ("timers_post_first", replace(CALM, crashes=1), "no way on"),
        ("ends_are_one_step", replace(CALM, crashes=1), "no way on"),
        ("done_is_last", CALM, "is ended and was never done"),
        ("starts_recover, doubts_are_looked_into", replace(CALM, crashes=1), "no way on"),
        ("doubts_are_looked_into", replace(CALM, crashes=1), "no way on"),
        ("doubts_are_looked_into", replace(CALM, strays=1), "no way on"),
        ("hands_are_spared", CALM, "is run beside itself"),
    ],
)
def test_without_any_of_its_rules_the_protocol_breaks(broken: str, bounds: Bounds, problem: str) -> None:
    """Or the search would prove nothing."""
    finding = explore(bounds, replace(Rules(), **dict.fromkeys(broken.split(", "), False)))
    assert finding.flaw is not None
    assert problem in finding.flaw.problem
    print(finding.flaw)
