import pytest

from hearth_cli.commands_functions import unseen
from hearth_cli.commands_hello import answer_in_log, ledger
from hearth_cli.endpoint import LogEntry


def entries(*texts: str, stream: str = "s") -> list[LogEntry]:
    return [LogEntry(number, stream, text) for number, text in enumerate(texts)]


def test_the_answer_and_its_report_are_found_in_the_log() -> None:
    log = entries("REPORT old\n", "START\n", "Hello, visi", "tor-1!\nEND\n", "REPORT RequestId: 1\tDuration\t\n")
    assert answer_in_log(log, "visitor-1") == ("Hello, visitor-1!", "REPORT RequestId: 1\tDuration")


def test_a_report_of_another_environment_is_not_ours() -> None:
    log = entries("Hello, visitor-1!\n") + entries("REPORT theirs\n", stream="t") + entries("REPORT ours\n")
    assert answer_in_log(log, "visitor-1") == ("Hello, visitor-1!", "REPORT ours")


def test_no_answer_is_none() -> None:
    assert answer_in_log(entries("START\n", "REPORT\n"), "visitor-1") is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("queue;dur=0.01, handler;dur=1.5", {"queue": 0.01, "handler": 1.5}),
        ('init;desc="code loading";dur=3', {"init": 3.0}),
        ("", {}),
    ],
)
def test_the_ledger_is_read_from_server_timing(header: str, expected: dict[str, float]) -> None:
    assert ledger(header) == expected


def test_following_shows_every_entry_once() -> None:
    seen = [LogEntry(1, "s", "a"), LogEntry(2, "s", "b"), LogEntry(2, "s", "b")]
    again = [*seen, LogEntry(2, "s", "b"), LogEntry(2, "s", "c"), LogEntry(3, "s", "a")]
    assert list(unseen(again, seen)) == again[3:]


def test_following_an_empty_log_shows_everything() -> None:
    fresh = entries("a", "b")
    assert list(unseen(fresh, [])) == fresh
