"""Events and the parcels that follow from them: posted, taken, run, ended, by one engine that may be killed.

An event's handling ends in a parcel; a parcel's in its delivery. Both lie on a shelf, due or taken. A request may be
lost, or executed at any later time before its doubt is over; see asynchronous/feeders.py. A timer posts the event.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.model.list_protocol import put

EVENT, PARCEL = 0, 1
NAMES = ("event", "parcel")
ABSENT, DUE, TAKEN, ENDED = "absent", "due", "taken", "ended"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the protocol insists on."""

    timers_post_first: bool = True
    """A firing is on the shelf before the timer moves on."""
    ends_are_one_step: bool = True
    """What follows from an event is kept in the step that forgets the event."""
    done_is_last: bool = True
    starts_recover: bool = True
    doubts_are_looked_into: bool = True
    """What is taken and in nobody's hands is due again, after a failure, and when nothing can come late any more."""
    hands_are_spared: bool = True


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much adversity there is."""

    crashes: int = 0
    strays: int = 0


class Request(NamedTuple):
    """On its way to the shelf; `is_late`: nobody waits for its answer."""

    kind: str
    item: int
    is_late: bool = False


class State(NamedTuple):
    """The shelf, the timer, the engine (`hands`: for each item "", "running" or "run") and what was done, as facts."""

    places: tuple[str, str]
    has_advanced: bool
    has_posted: bool
    is_up: bool
    has_recovered: bool
    hands: tuple[str, str]
    wire: frozenset[Request]
    done: tuple[bool, bool]
    crashes: int
    strays: int
    broken: str = ""


Steps = Iterator[tuple[str, State]]


class OutboxProtocol:
    """Its first state, its steps and its promises."""

    def __init__(self, bounds: Bounds, rules: Rules | None = None) -> None:
        self.bounds = bounds
        self.rules = rules or Rules()

    def first(self) -> State:
        return State(
            places=(ABSENT, ABSENT),
            has_advanced=False,
            has_posted=False,
            is_up=True,
            has_recovered=False,
            hands=("", ""),
            wire=frozenset(),
            done=(False, False),
            crashes=self.bounds.crashes,
            strays=self.bounds.strays,
        )

    def broken_promise(self, state: State) -> str | None:
        for item, place in enumerate(state.places):
            if place == ENDED and not state.done[item]:
                return f"the {NAMES[item]} is ended and was never done"
        return state.broken or None

    def is_over(self, state: State) -> bool:
        return state.has_advanced and state.places == (ENDED, ENDED)

    def steps(self, state: State) -> Steps:
        if self.is_over(state):
            return
        if not state.is_up:
            yield "the engine starts", state._replace(is_up=True, has_recovered=not self.rules.starts_recover)
        else:
            yield from self._timer(state)
            yield from self._engine(state)
        for request in state.wire:
            rest = state._replace(wire=state.wire - {request})
            name = f"{request.kind} {NAMES[request.item]}" + (", late," if request.is_late else "")
            yield f"{name} is executed", self._execute(rest, request)
            if state.strays and not request.is_late:
                astray = rest._replace(strays=state.strays - 1)
                yield f"{name} is lost", astray
                yield f"{name} goes astray", astray._replace(wire=rest.wire | {request._replace(is_late=True)})

    def _timer(self, state: State) -> Steps:
        if state.has_advanced:
            return
        if state.has_posted or not self.rules.timers_post_first:
            yield "the timer moves on", state._replace(has_advanced=True)
        if not state.has_posted:
            yield from self._send(state, Request("post", EVENT))

    def _engine(self, state: State) -> Steps:
        if state.crashes:
            gone = state._replace(
                is_up=False, has_recovered=False, has_posted=False, hands=("", ""), crashes=state.crashes - 1
            )
            late = frozenset(one._replace(is_late=True) for one in state.wire)
            yield "the engine is killed, its requests go on", gone._replace(wire=late)
            yield "the engine is killed", gone._replace(wire=frozenset())
        if not state.has_recovered:
            yield "the engine recovers", self._restored(state)._replace(has_recovered=True)
            return
        # No request of the engine's own is under way while it looks.
        is_quiet = not any(one.kind == "take" and not one.is_late for one in state.wire)
        if is_quiet and self.rules.doubts_are_looked_into and TAKEN in state.places:
            yield "the engine looks for what is lost", self._restored(state)
        for item in (EVENT, PARCEL):
            if state.hands[item] == "running":
                done = state._replace(done=put(state.done, item, True))
                yield f"the {NAMES[item]} is done", self._in_hand(done, item, "run")
            elif state.hands[item] == "run":
                yield from self._send(state, Request("end", item))
            if state.places[item] == DUE:
                yield from self._send(state, Request("take", item))

    def _send(self, state: State, request: Request) -> Steps:
        if request not in state.wire:
            yield f"{request.kind} {NAMES[request.item]} is sent", state._replace(wire=state.wire | {request})

    def _restored(self, state: State) -> State:
        """What is taken is due, but for what is in hand."""
        for item in (EVENT, PARCEL):
            if state.places[item] == TAKEN and not (state.hands[item] and self.rules.hands_are_spared):
                state = self._placed(state, item, DUE)
        return state

    def _execute(self, state: State, request: Request) -> State:
        item, place = request.item, state.places[request.item]
        match request.kind:
            case "post":
                state = self._placed(state, item, DUE) if place == ABSENT else state
                return state if request.is_late else state._replace(has_posted=True)
            case "take":
                return self._take(state, request) if place == DUE else state
            case _:
                return self._end(state, request)

    def _take(self, state: State, request: Request) -> State:
        state = self._placed(state, request.item, TAKEN if self.rules.done_is_last else ENDED)
        if request.is_late:
            return state
        if state.hands[request.item]:
            return state._replace(broken=f"the {NAMES[request.item]} is run beside itself")
        return self._in_hand(state, request.item, "running")

    def _end(self, state: State, request: Request) -> State:
        if state.places[request.item] in (DUE, TAKEN):
            state = self._placed(state, request.item, ENDED)
            is_kept = self.rules.ends_are_one_step or not request.is_late
            if request.item == EVENT and state.places[PARCEL] == ABSENT and is_kept:
                state = self._placed(state, PARCEL, DUE)
        return state if request.is_late else self._in_hand(state, request.item, "")

    def _placed(self, state: State, item: int, place: str) -> State:
        return state._replace(places=put(state.places, item, place))

    def _in_hand(self, state: State, item: int, how: str) -> State:
        return state._replace(hands=put(state.hands, item, how))
