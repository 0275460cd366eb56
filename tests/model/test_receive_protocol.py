"""Receivers, receipts, redrive and groups, all of it: every order of events within small bounds."""

from dataclasses import replace

import pytest
from tests.model.exploration import Exploration, Finding
from tests.model.receive_protocol import Bounds, ReceiveProtocol, Rules

TWO = Bounds(receivers=2)
MIXED = Bounds(has_mapping=True)
"""A receiver and a mapping on one queue."""
GROUP = Bounds(messages=2, groups=(0, 0), receivers=2, max_receive_count=1)
GROUPS = replace(GROUP, messages=3, groups=(0, 0, 1))


def explore(bounds: Bounds, rules: Rules | None = None) -> Finding:
    protocol = ReceiveProtocol(bounds, rules)
    finding = Exploration(protocol.first(), protocol.steps, protocol.broken_promise, protocol.is_over).run()
    print(f"{bounds}: {finding.states} states, {finding.steps} steps")
    return finding


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(replace(TWO, strays=2, crashes=1), id="two receivers"),
        pytest.param(replace(TWO, messages=2, max_receive_count=1, batch=2), id="two receivers and two messages"),
        pytest.param(replace(TWO, strays=1, refusals=1), id="the dead-letter queue refuses"),
        pytest.param(replace(MIXED, crashes=1, silences=1), id="a receiver beside a mapping that is killed"),
        pytest.param(replace(MIXED, strays=1, crashes=1), id="a receiver beside a mapping that is cut off"),
        pytest.param(replace(MIXED, max_receive_count=3, silences=1), id="a receiver beside a mapping that is silent"),
        pytest.param(replace(GROUP, max_receive_count=2, batch=2), id="a group in batches"),
        pytest.param(replace(GROUP, strays=1, crashes=1), id="a group and receivers that are killed"),
        pytest.param(replace(GROUPS, batch=2, crashes=1, receivers=1), id="groups in batches"),
        pytest.param(GROUPS, id="groups"),
        pytest.param(replace(GROUP, receivers=1, has_mapping=True, batch=2, silences=1), id="a group and a mapping"),
        pytest.param(replace(GROUPS, stuck_group=0), id="a group that nobody lets go of"),
    ],
)
def test_nothing_is_lost_wrongly_dead_or_ever_stuck(bounds: Bounds) -> None:
    finding = explore(bounds)
    assert finding.flaw is None, str(finding.flaw)


@pytest.mark.parametrize(
    ("broken", "bounds", "problem"),
    [
        ("receiving_hides", TWO, "visible although it is hidden"),
        ("hiding_ends", replace(TWO, receivers=1), "no way on"),
        ("receives_count", TWO, "was received 3 times"),
        ("the_last_try_is_given", replace(TWO, receivers=1), "is dead after 1"),
        ("a_refused_letter_stays", replace(TWO, refusals=1), "is nowhere"),
        ("receipts_are_compared", TWO, "visible although it is hidden for 2"),
        ("claims_forget_receipts", replace(MIXED, max_receive_count=3), "visible although it is hidden for -1"),
        # Each of the two keeps a receiver's hands off what a mapping runs.
        ("claims_forget_receipts, only_the_hidden_is_changed", MIXED, "visible although it is hidden for -1"),
        ("the_dead_are_taken_over", replace(MIXED, crashes=1, max_receive_count=1), "no way on"),
        ("only_the_holder_settles", replace(MIXED, silences=1), "is taken from the receiver"),
        ("deletes_wait_for_handling", TWO, "is done and was never handled"),
        ("held_groups_are_blocked", GROUP, "message 1 is handled before 0"),
        ("the_latest_hold_counts", replace(GROUP, batch=2, max_receive_count=2), "delivered while it is hidden"),
        ("the_returned_come_first", replace(GROUP, max_receive_count=2), "message 1 is handled before 0"),
        ("groups_are_apart", replace(GROUPS, stuck_group=0), "no way on"),
    ],
)
def test_without_any_of_its_rules_the_protocol_breaks(broken: str, bounds: Bounds, problem: str) -> None:
    """Or the search would prove nothing."""
    finding = explore(bounds, replace(Rules(), **dict.fromkeys(broken.split(", "), False)))
    assert finding.flaw is not None
    assert problem in finding.flaw.problem
    print(finding.flaw)
