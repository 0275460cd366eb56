"""Texts with wildcards: `*` for any run of characters, `?` for exactly one.

A pattern is cut at its stars, and each piece is looked for behind the one before it. The leftmost place is always as
good as any later one, so there is no going back, and no pattern can make the work explode, as it can with a regular
expression built from it. Nor does reading one cost much: patterns with variables are read again for every request.
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
    """What stands between two stars: a text of one length, some of whose characters may be any. `literal` is the text
    where none may; `source` the regular expression, which is made only if it is needed."""

    length: int
    literal: str | None
    source: str

    def stands_at(self, text: str, start: int) -> bool:
        """Whether the text goes on with this piece from there."""
        if self.literal is not None:
            return text.startswith(self.literal, start)
        return _compiled(self.source).match(text, start) is not None

    def find(self, text: str, start: int) -> int:
        """The leftmost place at or behind `start` where this piece stands; -1 if there is none."""
        if self.literal is not None:
            return text.find(self.literal, start)
        found = _compiled(self.source).search(text, start)
        return -1 if found is None else found.start()


class Glob(NamedTuple):
    """A pattern, cut at its stars; one without a star is a single piece. `length`: of the shortest text that fits."""

    pieces: tuple[Piece, ...]
    length: int

    def matches(self, text: str) -> bool:
        """Whether the whole text fits."""
        first, last = self.pieces[0], self.pieces[-1]
        if len(self.pieces) == 1:
            return len(text) == self.length and first.stands_at(text, 0)
        end = len(text) - last.length
        if len(text) < self.length or not (first.stands_at(text, 0) and last.stands_at(text, end)):
            return False
        at = first.length
        for piece in self.pieces[1:-1]:
            found = piece.find(text, at)
            if found < 0:
                return False
            at = found + piece.length
        return at <= end


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
    made = tuple(map(_piece, pieces))
    return Glob(made, sum(piece.length for piece in made))


@lru_cache(maxsize=4096)
def _glob_of(pattern: str) -> Glob:
    return glob(tokens(pattern))


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text fits the pattern."""
    return pattern == "*" or _glob_of(pattern).matches(text)


def _piece(parts: list[Token]) -> Piece:
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) == len(parts):
        literal = "".join(texts)
        return Piece(len(literal), literal, "")
    source = "".join("." if isinstance(part, Wildcard) else re.escape(part) for part in parts)
    return Piece(sum(map(len, texts)) + len(parts) - len(texts), None, source)


@lru_cache(maxsize=4096)
def _compiled(source: str) -> "re.Pattern[str]":
    return re.compile(source, re.DOTALL)
