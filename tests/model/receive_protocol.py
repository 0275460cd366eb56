"""Receivers of SQS, and a mapping beside them, on one queue of docs/queue-protocol.md: standard, or FIFO with `groups`.

What lists and sessions do is looked at in `list_protocol`; here it is receipts, visibility, redrive and groups. Time
passes when it likes: whatever is hidden may come back at any moment. A request that goes astray is executed at any
later time, or never, and its answer is lost; its sender goes on and may send it again.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

from tests.model.list_protocol import bits, mask_of, put

WAITING, DUE, HIDDEN, LEASED, DONE, DEAD, NOWHERE = "waiting", "due", "hidden", "leased", "done", "dead", "nowhere"
OK, FAILED = "ok", "failed"
REST = -1
"""Hidden for nobody: at rest after a failure."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the protocol insists on."""

    receiving_hides: bool = True
    """Handing out, hiding and counting are one step."""
    hiding_ends: bool = True
    receives_count: bool = True
    the_last_try_is_given: bool = True
    """Dead is what was received as often as allowed already, not what would be now."""
    a_refused_letter_stays: bool = True
    """What the dead-letter queue does not take does not leave the queue."""
    receipts_are_compared: bool = True
    only_the_hidden_is_changed: bool = True
    claims_forget_receipts: bool = True
    the_dead_are_taken_over: bool = True
    """By receivers, if no owner is left."""
    only_the_holder_settles: bool = True
    deletes_wait_for_handling: bool = True
    """The client's rule: it deletes when it has handled."""
    held_groups_are_blocked: bool = True
    the_latest_hold_counts: bool = True
    """A group opens when all that is held of it is visible again, not when its first message is."""
    the_returned_come_first: bool = True
    groups_are_apart: bool = True


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much there is, and how much adversity. `groups`: of each message, in order; empty for a standard queue.
    `stuck_group`: whoever has messages of it keeps them hidden for ever."""

    messages: int = 1
    groups: tuple[int, ...] = ()
    stuck_group: int | None = None
    max_receive_count: int = 2
    receivers: int = 1
    has_mapping: bool = False
    batch: int = 1
    crashes: int = 0
    strays: int = 0
    silences: int = 0
    refusals: int = 0


class Message(NamedTuple):
    """`receipt`: of the receive that had it last. The rest are facts that nobody in the protocol knows: for which
    receive it is hidden (0: it is not), how often it was received, and how often a mapping's function failed with
    it."""

    place: str = WAITING
    attempts: int = 0
    receipt: int = 0
    hidden_for: int = 0
    receives: int = 0
    failures: int = 0


class Run(NamedTuple):
    """A delivery that its client knows of. `fate` is empty while it runs."""

    message: int
    receipt: int
    attempts: int
    fate: str = ""


class Client(NamedTuple):
    """A receiver, or the mapping's owner, which alone has a session."""

    is_up: bool = True
    session: int = 0
    runs: frozenset[Run] = frozenset()


class Request(NamedTuple):
    """On its way to the server; `is_late`: nobody waits for its answer."""

    kind: str
    who: int
    session: int = 0
    run: Run | None = None
    keep: int = 0
    is_late: bool = False


class State(NamedTuple):
    """The server, the clients, the wire; what was handled, and the first promise that a step broke."""

    messages: tuple[Message, ...]
    live: int
    clients: tuple[Client, ...]
    wire: frozenset[Request]
    crashes: int
    strays: int
    silences: int
    refusals: int
    is_refusing: bool = False
    handled: int = 0
    broken: str = ""


Steps = Iterator[tuple[str, State]]


class ReceiveProtocol:
    """Its first state, its steps and its promises."""

    def __init__(self, bounds: Bounds, rules: Rules | None = None) -> None:
        self.bounds = bounds
        self.rules = rules or Rules()
        self.owner = bounds.receivers if bounds.has_mapping else -1

    def first(self) -> State:
        bounds = self.bounds
        return State(
            messages=(Message(),) * bounds.messages,
            live=0,
            clients=(Client(),) * (bounds.receivers + bounds.has_mapping),
            wire=frozenset(),
            crashes=bounds.crashes,
            strays=bounds.strays,
            silences=bounds.silences,
            refusals=bounds.refusals,
        )

    # What must hold

    def broken_promise(self, state: State) -> str | None:
        for index, message in enumerate(state.messages):
            tries = message.receives + message.failures
            if message.place == NOWHERE:
                return f"message {index} is nowhere"
            if message.place == DONE and not state.handled >> index & 1:
                return f"message {index} is done and was never handled"
            if message.place == DEAD and tries < self.bounds.max_receive_count:
                return f"message {index} is dead after {tries} tries"
            if message.place == DUE and message.hidden_for:
                return f"message {index} is visible although it is hidden for {message.hidden_for}"
            if self._is_beyond(message):
                return f"message {index} was received {message.receives} times"
        return state.broken or None

    def _is_beyond(self, message: Message) -> bool:
        """A letter that is refused, and a mapping that sets its count, allow others."""
        is_counted = not self.bounds.has_mapping and not self.bounds.refusals
        return is_counted and message.receives > self.bounds.max_receive_count

    def is_over(self, state: State) -> bool:
        """Everything is done or dead but for the group that is stuck."""
        most = self.bounds.max_receive_count + self.bounds.refusals + self.bounds.has_mapping
        return all(
            one.place in (DONE, DEAD) or self._is_stuck(index) or one.receives > most
            for index, one in enumerate(state.messages)
        )

    def _is_stuck(self, index: int) -> bool:
        return self.bounds.stuck_group is not None and self._group(index) == self.bounds.stuck_group

    def _group(self, index: int) -> int:
        return self.bounds.groups[index] if self.bounds.groups else index

    # What can happen

    def steps(self, state: State) -> Steps:
        if self.is_over(state):
            return
        yield from self._time_passes(state)
        for who, client in enumerate(state.clients):
            if client.is_up:
                yield from self._outcomes(state, who, client)
                yield from self._requests(state, who, client)
                yield from self._crash(state, who)
        for request in state.wire:
            rest = state._replace(wire=state.wire - {request})
            name = f"{request.who}'s {request.kind}" + (", late," if request.is_late else "")
            for after in self._execute(rest, request):
                yield f"{name} is executed", after
            if state.strays and not request.is_late:
                astray = self._astray(rest, request)
                yield f"{name} is lost", astray
                late = request._replace(is_late=True)
                yield f"{name} goes astray", astray._replace(wire=astray.wire | {late})

    def _time_passes(self, state: State) -> Steps:
        for index, message in enumerate(state.messages):
            if message.place == HIDDEN and self.rules.hiding_ends and not self._is_stuck(index):
                yield f"{index} is visible again", self._set(state, index, place=DUE, hidden_for=0)
        if state.live:
            is_dead = not state.clients[self.owner].is_up
            if is_dead or state.silences:
                yield (
                    "the owner is silent for too long",
                    state._replace(live=0, silences=state.silences - (not is_dead)),
                )
        if state.refusals and not state.is_refusing:
            yield "dead letters are refused", state._replace(is_refusing=True, refusals=state.refusals - 1)
        if state.is_refusing:
            yield "dead letters are taken again", state._replace(is_refusing=False)

    def _outcomes(self, state: State, who: int, client: Client) -> Steps:
        """Of a group a client handles the first first, and nothing behind one that failed."""
        for run in client.runs:
            index = run.message
            same = {one for one in client.runs if self._group(one.message) == self._group(index)}
            if run.fate or self._is_stuck(index) or any(one.fate != OK and one.message < index for one in same):
                continue
            yield f"{who} handles {index}", self._handled(self._ended(state, who, {run}, OK), index)
            behind = {one for one in same if one.message >= index and not one.fate}
            failed = self._ended(state, who, behind, FAILED)
            for one in behind if who == self.owner else ():
                failures = state.messages[one.message].failures
                if failures >= self.bounds.max_receive_count:
                    break
                failed = self._set(failed, one.message, failures=failures + 1)
            else:
                yield f"{who} fails with {index}", failed

    def _handled(self, state: State, index: int) -> State:
        before = [one for one in range(index) if self._group(one) == self._group(index)]
        for one in before:
            if state.messages[one].place != DEAD and not (state.handled | mask_of([index])) >> one & 1:
                state = state._replace(broken=f"message {index} is handled before {one}")
        return state._replace(handled=state.handled | mask_of([index]))

    def _ended(self, state: State, who: int, runs: Iterable[Run], fate: str) -> State:
        kept = state.clients[who].runs - frozenset(runs)
        return self._client(state, who, runs=kept | {run._replace(fate=fate) for run in runs})

    def _requests(self, state: State, who: int, client: Client) -> Steps:
        is_owner = who == self.owner
        if is_owner and not client.session:
            keep = mask_of(run.message for run in client.runs)
            session = 1 + self.bounds.strays + self.bounds.silences - state.strays - state.silences
            yield from self._send(state, Request("enter", who, session, keep=keep))
            return
        if not client.runs:
            yield from self._send(state, Request("claim" if is_owner else "receive", who, client.session))
        for run in client.runs:
            if is_owner and run.fate:
                yield from self._send(state, Request("settle", who, run=run))
            elif run.fate == OK or not self.rules.deletes_wait_for_handling:
                yield from self._send(state, Request("delete", who, run=run))
            elif run.fate == FAILED:
                yield from self._send(state, Request("show", who, run=run))
                yield f"{who} leaves {run.message}", self._client(state, who, runs=client.runs - {run})

    def _send(self, state: State, request: Request) -> Steps:
        if not any(
            (one.kind, one.who, one.run, one.is_late) == (*request[:2], request.run, False) for one in state.wire
        ):
            yield f"{request.who} sends {request.kind}", state._replace(wire=state.wire | {request})

    def _crash(self, state: State, who: int) -> Steps:
        """Of a receiver, of the Hearth that it talks to, or of the owner, who comes back without what it had."""
        if not state.crashes:
            return
        is_up = who != self.owner
        gone = self._client(state, who, is_up=is_up, runs=frozenset())._replace(crashes=state.crashes - 1)
        mine = {one for one in state.wire if one.who == who and not one.is_late}
        yield f"{who} crashes, and its requests", gone._replace(wire=state.wire - mine)
        if mine:
            late = {one._replace(is_late=True) for one in mine}
            yield f"{who} crashes, its requests go on", gone._replace(wire=state.wire - mine | late)

    def _astray(self, state: State, request: Request) -> State:
        """An owner that misses an answer begins a new session."""
        state = state._replace(strays=state.strays - 1)
        return self._client(state, request.who, session=0) if request.who == self.owner else state

    # The server

    def _execute(self, state: State, request: Request) -> Iterator[State]:
        match request.kind:
            case "receive":
                state = self._taken_over(state)
                yield from (self._receive(state, request, offered) for offered in self._offers(state))
            case "claim" if state.live == request.session:
                yield from (self._claim(state, request, offered) for offered in self._offers(state))
            case "claim":  # refused
                yield state if request.is_late else self._client(state, request.who, session=0)
            case "enter":
                yield self._enter(state, request)
            case "settle":
                yield self._settled(state, request, self._settle)
            case "delete":
                yield self._settled(state, request, self._delete)
            case _:
                yield self._settled(state, request, self._show)

    def _offers(self, state: State) -> Iterator[tuple[int, ...]]:
        """What comes next, in order; of a FIFO queue by groups, whoever's turn it is."""
        places = [one.place for one in state.messages]
        if not self.bounds.groups:
            yield tuple(index for place in (DUE, WAITING) for index, it in enumerate(places) if it == place)
            return
        is_any_held = any(place in (HIDDEN, LEASED) for place in places)
        groups = [self._open(places, group) for group in sorted(set(self.bounds.groups))]
        if is_any_held and not self.rules.groups_are_apart:
            groups = []
        for order in permutations(group for group in groups if group):
            yield tuple(index for group in order for index in group)

    def _open(self, places: list[str], group: int) -> list[int]:
        """The group's messages; none while one is held."""
        of_group = [index for index, one in enumerate(self.bounds.groups) if one == group]
        here = [index for index in of_group if places[index] not in (DONE, DEAD)]
        visible = [index for index in here if places[index] in (DUE, WAITING)]
        if not self.rules.the_returned_come_first:
            visible.sort(key=lambda index: places[index] == DUE)
        if not self.rules.the_latest_hold_counts:
            return here if here[:1] == visible[:1] else []
        return [] if self.rules.held_groups_are_blocked and len(visible) < len(here) else visible

    def _receive(self, state: State, request: Request, offered: Iterable[int]) -> State:
        got: set[Run] = set()
        for index in offered:
            if len(got) == self.bounds.batch:
                break
            message = state.messages[index]
            last = self.bounds.max_receive_count - (not self.rules.the_last_try_is_given)
            if message.attempts >= last and not (state.is_refusing and self.rules.a_refused_letter_stays):
                state = self._set(state, index, place=NOWHERE if state.is_refusing else DEAD, hidden_for=0)
                continue
            number, attempts = message.receives + 1, message.attempts + self.rules.receives_count
            state = self._handed_out(state, index)
            place = HIDDEN if self.rules.receiving_hides else DUE
            state = self._set(
                state, index, place=place, attempts=attempts, receipt=number, hidden_for=number, receives=number
            )
            got.add(Run(index, number, attempts))
        return self._answered(state, request, got)

    def _claim(self, state: State, request: Request, offered: Iterable[int]) -> State:
        """Of a FIFO queue, from one group."""
        got: set[Run] = set()
        for index in offered:
            if len(got) == self.bounds.batch or any(self._group(run.message) != self._group(index) for run in got):
                break
            state = self._handed_out(state, index)
            receipt = 0 if self.rules.claims_forget_receipts else state.messages[index].receipt
            state = self._set(state, index, place=LEASED, receipt=receipt)
            got.add(Run(index, 0, state.messages[index].attempts))
        return self._answered(state, request, got)

    def _handed_out(self, state: State, index: int) -> State:
        if state.messages[index].hidden_for or state.messages[index].place == LEASED:
            return state._replace(broken=f"message {index} is delivered while it is hidden")
        return state

    def _answered(self, state: State, request: Request, got: Iterable[Run]) -> State:
        return state if request.is_late else self._client(state, request.who, runs=frozenset(got))

    def _settled(self, state: State, request: Request, how: Callable[[State, Run], State]) -> State:
        """What a client says of a delivery. It forgets the delivery when it is answered."""
        assert request.run is not None
        state = how(state, request.run)
        runs = state.clients[request.who].runs
        return state if request.is_late else self._client(state, request.who, runs=runs - {request.run})

    def _delete(self, state: State, run: Run) -> State:
        message = state.messages[run.message]
        is_held = message.receipt == run.receipt and message.place in (DUE, HIDDEN)
        if is_held and self.bounds.groups:
            is_held = message.place == HIDDEN
        return self._set(state, run.message, place=DONE, hidden_for=0) if is_held else state

    def _show(self, state: State, run: Run) -> State:
        """ChangeMessageVisibility to 0."""
        message = state.messages[run.message]
        is_mine = message.receipt == run.receipt or not self.rules.receipts_are_compared
        is_hidden = message.place == HIDDEN or not self.rules.only_the_hidden_is_changed
        if not is_mine or not is_hidden or message.place in (DONE, DEAD, WAITING):
            return state
        # Only the one for whom it is hidden may end that.
        hidden_for = (
            0 if message.hidden_for == run.receipt else message.hidden_for or (message.place == LEASED and REST)
        )
        return self._set(state, run.message, place=DUE, hidden_for=hidden_for)

    def _settle(self, state: State, run: Run) -> State:
        message = state.messages[run.message]
        if message.place in (DONE, DEAD, WAITING):
            return state
        if run.fate == OK:
            return self._set(state, run.message, place=DONE, hidden_for=0)
        if message.place != LEASED and self.rules.only_the_holder_settles:
            return state
        if run.attempts + 1 >= self.bounds.max_receive_count:
            return self._set(state, run.message, place=DEAD)
        if message.hidden_for > 0:
            state = state._replace(broken=f"message {run.message} is taken from the receiver that it is hidden for")
        return self._set(state, run.message, place=HIDDEN, attempts=run.attempts + 1, hidden_for=REST)

    def _enter(self, state: State, request: Request) -> State:
        if state.live > request.session:
            return state
        if not request.is_late:
            state = self._client(state, request.who, session=request.session)
        return self._restored(state, request.keep)._replace(live=request.session)

    def _taken_over(self, state: State) -> State:
        is_dead = not state.live and self.rules.the_dead_are_taken_over
        return self._restored(state, 0) if is_dead else state

    def _restored(self, state: State, keep: int) -> State:
        leased = mask_of(index for index, message in enumerate(state.messages) if message.place == LEASED)
        for index in bits(leased & ~keep):
            state = self._set(state, index, place=DUE)
        return state

    def _set(self, state: State, index: int, **changes: object) -> State:
        message = state.messages[index]._replace(**changes)  # type: ignore[arg-type]
        return state._replace(messages=put(state.messages, index, message))

    def _client(self, state: State, who: int, **changes: object) -> State:
        client = state.clients[who]._replace(**changes)  # type: ignore[arg-type]
        return state._replace(clients=put(state.clients, who, client))
