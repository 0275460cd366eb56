"""How the command speaks: data on standard output, everything said to people on standard error."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

Progress = Callable[[str], None]
"""Told what is being done now, in a few words."""

_WIDTH_OF_FILES = 240

# Tables are fitted to a terminal; what goes to a file or a pipe is not squeezed.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Failure(Exception):
    """The command cannot do what was asked. The message is one sentence for the user; exit code 1."""


def print_json(value: Any) -> None:
    """A value for scripts: plain JSON, never coloured or wrapped."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def say(message: str) -> None:
    """Something done, for people."""
    err.print(f"[green]✓[/] {message}")


def warn(message: str) -> None:
    """Something the user should know, although the command goes on."""
    err.print(f"[yellow]![/] {message}")


def quiet(_message: str) -> None:
    """A `Progress` for when nobody watches."""


@contextmanager
def progress(first: str) -> Iterator[Progress]:
    """Shows what is under way: a spinner on a terminal, one line for each new step elsewhere."""
    if err.is_terminal:
        with err.status(first) as status:
            yield status.update
        return
    last = ""

    def line(message: str) -> None:
        nonlocal last
        if message != last:
            last = message
            err.print(f"  {message}", markup=False)

    line(first)
    yield line
