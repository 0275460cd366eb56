"""Output of several environments at once, put together line by line."""

from hearth_cli.commands_functions import WholeLines
from hearth_cli.endpoint import LogEntry


def test_lines_of_several_environments_do_not_mix() -> None:
    joined = WholeLines()
    pieces = [LogEntry(1, "a", "one "), LogEntry(1, "b", "two\n"), LogEntry(2, "a", "line\nthe "), LogEntry(2, "b", "")]

    assert [joined.take(piece) for piece in pieces] == ["", "two\n", "one line\n", ""]
    assert joined.rest() == "the \n"
