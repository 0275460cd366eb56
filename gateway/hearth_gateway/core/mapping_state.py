"""The life of an event source mapping: one enum of states, one table of steps.

Rule 1: a wish (change, enable, disable, delete) is refused while a transition is under way; AWS answers
ResourceInUseException then.
Rule 2: news (the poller runs, the poller has stopped) ends a transition. News that fits no transition is late and
changes nothing.
Source: AWS Lambda API reference, EventSourceMappingConfiguration, `State`.
"""

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """The value is the `State` member on the wire. `GONE` never reaches it: the mapping is a 404 by then."""

    CREATING = "Creating"
    ENABLING = "Enabling"
    ENABLED = "Enabled"
    DISABLING = "Disabling"
    DISABLED = "Disabled"
    UPDATING = "Updating"
    DELETING = "Deleting"
    GONE = "Gone"


class Wish(Enum):
    """What a caller asks for."""

    CHANGE = "change"
    ENABLE = "enable"
    DISABLE = "disable"
    DELETE = "delete"


class News(Enum):
    """What the poller reports."""

    RUNNING = "running"
    STOPPED = "stopped"


STEPS: Mapping[tuple[State, Wish | News], State] = {
    (State.CREATING, News.RUNNING): State.ENABLED,
    (State.CREATING, News.STOPPED): State.DISABLED,
    (State.ENABLING, News.RUNNING): State.ENABLED,
    (State.ENABLED, Wish.CHANGE): State.UPDATING,
    (State.ENABLED, Wish.ENABLE): State.UPDATING,
    (State.ENABLED, Wish.DISABLE): State.DISABLING,
    (State.ENABLED, Wish.DELETE): State.DELETING,
    (State.DISABLING, News.STOPPED): State.DISABLED,
    (State.DISABLED, Wish.CHANGE): State.UPDATING,
    (State.DISABLED, Wish.ENABLE): State.ENABLING,
    (State.DISABLED, Wish.DISABLE): State.UPDATING,
    (State.DISABLED, Wish.DELETE): State.DELETING,
    (State.UPDATING, News.RUNNING): State.ENABLED,
    (State.UPDATING, News.STOPPED): State.DISABLED,
    (State.DELETING, News.STOPPED): State.GONE,
}

SETTLED = frozenset({State.ENABLED, State.DISABLED})
"""The states that wait for a wish; every other one waits for news."""


def after_wish(state: State, wish: Wish) -> State | None:
    """The state that granting the wish begins; None while a transition is under way (ResourceInUseException)."""
    return STEPS.get((state, wish))


def after_news(state: State, news: News) -> State:
    """The state after the news; unchanged when the news is late."""
    return STEPS.get((state, news), state)
