"""Tumbling windows: stretches of time whose records share a state that the function hands on from call to call.

Rule 1: a window's state is durable before the records that made it are finished with.
Rule 2: every window that had a record has one final call, even if the mapping's settings changed meanwhile.
Source: "Using Lambda to process records from Amazon Kinesis Data Streams", Tumbling windows.
"""

from dataclasses import dataclass
from typing import Any

import orjson

MAX_STATE_BYTES = 1_048_576
"""A larger state ends its window early."""
GRACE_MS = 1_000
"""How long after its end a window is closed without a later record to prove it over: clocks differ."""


@dataclass(frozen=True, slots=True)
class Window:
    """An open window. `name` is where it is kept; `state` is JSON; times are epoch milliseconds.

    `attempts` are failures of its final call. `is_early`: it ends before its time.
    """

    name: str
    start_ms: int
    end_ms: int
    state: bytes = b"{}"
    attempts: int = 0
    is_early: bool = False

    def encode(self) -> bytes:
        head = {"start": self.start_ms, "end": self.end_ms, "attempts": self.attempts, "early": self.is_early}
        return orjson.dumps({**head, "state": orjson.Fragment(self.state)})

    @classmethod
    def decode(cls, name: str, stored: bytes) -> "Window":
        found = orjson.loads(stored)
        state = orjson.dumps(found["state"])
        return cls(name, found["start"], found["end"], state, found["attempts"], found["early"])


def window_at(arrival_ms: int, length_ms: int, name_of: str) -> Window:
    """The window that a record of that arrival opens. `name_of` is the lane's part of its name."""
    start = arrival_ms - arrival_ms % length_ms
    return Window(f"window:{name_of}:{start}", start, start + length_ms)


def state_of(answer: Any) -> bytes | None:
    """The state in a function's answer; None if it has none, which is a failure."""
    if not isinstance(answer, dict) or not isinstance(answer.get("state"), dict):
        return None
    return orjson.dumps(answer["state"])
