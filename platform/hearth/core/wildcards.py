"""Texts with wildcards: `*` for any run of characters, `?` for exactly one.

A pattern is cut at its stars, and each piece is looked for behind the one before it. The leftmost place is always as
good as any later one, so there is no going back, and no pattern can make the work explode, as it can with a regular
expression built from it.
"""

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import NamedTuple


class Wildcard(Enum):
    """What stands for other characters than itself."""

    ANY = "*"
    ONE = "?"


Token = str | Wildcard
"""A text taken literally, or a wildcard."""


class Piece(NamedTuple):
    """What stands between two stars: a text of one length, some of whose characters may be any."""

    pattern: "re.Pattern[str]"
    length: int


class Glob(NamedTuple):
    """A pattern, cut at its stars; one without a star is a single piece."""

    pieces: tuple[Piece, ...]

    def matches(self, text: str) -> bool:
        """Whether the whole text fits."""
        first, last = self.pieces[0], self.pieces[-1]
        if len(self.pieces) == 1:
            return first.pattern.fullmatch(text) is not None
        found, end = first.pattern.match(text), len(text) - last.length
        for piece in self.pieces[1:-1]:
            found = piece.pattern.search(text, found.end()) if found else None
        return found is not None and found.end() <= end and last.pattern.fullmatch(text, end) is not None


def tokens(pattern: str) -> list[Token]:
    """A pattern's literal texts and wildcards."""
    parts = re.split(r"([*?])", pattern)
    return [Wildcard(part) if part in ("*", "?") else part for part in parts if part]


def glob(parts: Iterable[Token]) -> Glob:
    """The pattern that these tokens make."""
    pieces: list[list[Token]] = [[]]
    for part in parts:
        if part is Wildcard.ANY:
            pieces.append([])
        else:
            pieces[-1].append(part)
    return Glob(tuple(_piece(piece) for piece in pieces))


@lru_cache(maxsize=4096)
def _glob_of(pattern: str) -> Glob:
    return glob(tokens(pattern))


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text fits the pattern."""
    return pattern == "*" or _glob_of(pattern).matches(text)


def _piece(parts: list[Token]) -> Piece:
    source = "".join("." if isinstance(part, Wildcard) else re.escape(part) for part in parts)
    length = sum(1 if isinstance(part, Wildcard) else len(part) for part in parts)
    return Piece(re.compile(source, re.DOTALL), length)
