"""The queue protocol of docs/queue-protocol.md, small enough to look at all of it.

Messages are bits: bit 0 is the first message. Owners are mappings in a run of Hearth; owner 1 may be the successor of
owner 0 (the same mapping after a restart) or a stranger (another mapping on the same list). Between a client and the
server lies the wire: a request may be executed late, after its connection was cut or its sender died, or never.

`Rules` are the protocol's decisions. Each can be taken away, and then the search must find the accident that it
prevents: that is what shows that the search can find anything.
"""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

OK, FAILED, GIVEN_BACK = "ok", "failed", "given back"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the protocol insists on."""

    claims_are_fenced: bool = True
    """A claim of an older session is refused."""
    sessions_only_grow: bool = True
    """A late sign of life of an older session does not bring that session back."""
    enter_restores: bool = True
    """A new session makes what earlier ones took or leased due again."""
    the_dead_are_taken_over: bool = True
    platform_failures_are_uncounted: bool = True
    only_the_holder_counts: bool = True
    """A failure that is reported by somebody who lost the lease changes nothing."""
    claim_is_atomic: bool = True
    """A message leaves the list and enters the books in one step."""
    done_is_last: bool = True
    """Acknowledged when the outcome is known, not when the message is claimed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much adversity there is."""

    messages: int = 1
    max_receive_count: int = 2
    crashes: int = 1
    cuts: int = 1
    lapses: int = 1
    platform_failures: int = 1
    batch: int = 1
    sessions: int = 3
    """Of one owner."""
    is_successor: bool = True


class Request(NamedTuple):
    """On its way to the server."""

    kind: str
    owner: int
    session: int
    message: int = 0
    fate: str = ""
    attempts: int = 0
    keep: int = 0


class Run(NamedTuple):
    """A delivery that its client knows of, with the count it was claimed with. `fate` is empty while it runs."""

    message: int
    attempts: int
    fate: str = ""


class Client(NamedTuple):
    """What a process knows. `session` 0: not connected; `sessions`: how many there were. `runs`: deliveries that run or
    are not settled yet."""

    is_up: bool = False
    has_run: bool = False
    session: int = 0
    sessions: int = 0
    runs: frozenset[Run] = frozenset()


class State(NamedTuple):
    """The server, the clients, the wire, and two facts nobody in the protocol knows: how often the function failed for
    each message, and which were handled."""

    source: int
    taken: tuple[int, ...]
    books: tuple[int, ...]
    leases: tuple[int, ...]
    retry: int
    dead: int
    done: int
    live: tuple[int, ...]
    newest: tuple[int, ...]
    clients: tuple[Client, ...]
    wire: frozenset[Request]
    failures: tuple[int, ...]
    handled: int
    crashes: int
    cuts: int
    lapses: int
    platform_failures: int


OFF_THE_BOOKS = -1
OWNERS = 2


def put(values: tuple, index: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:index], value, *values[index + 1 :])


def mask_of(messages: Iterable[int]) -> int:
    return functools.reduce(lambda mask, index: mask | 1 << index, messages, 0)


def bits(mask: int) -> Iterator[int]:
    return (index for index in range(mask.bit_length()) if mask >> index & 1)


class ListProtocol:
    """Its first state, its steps and its promises."""

    def __init__(self, bounds: Bounds, rules: Rules | None = None) -> None:
        self.bounds = bounds
        self.rules = rules or Rules()
        self.all = (1 << bounds.messages) - 1

    def first(self) -> State:
        none = (OFF_THE_BOOKS,) * self.bounds.messages
        started = Client(is_up=True, has_run=True)
        return State(
            source=self.all,
            taken=(0,) * OWNERS,
            books=none,
            leases=(0,) * OWNERS,
            retry=0,
            dead=0,
            done=0,
            live=(0,) * OWNERS,
            newest=(0,) * OWNERS,
            clients=(started, Client() if self.bounds.is_successor else started),
            wire=frozenset(),
            failures=(0,) * self.bounds.messages,
            handled=0,
            crashes=self.bounds.crashes,
            cuts=self.bounds.cuts,
            lapses=self.bounds.lapses,
            platform_failures=self.bounds.platform_failures,
        )

    # What must hold

    def broken_promise(self, state: State) -> str | None:
        """Every message is in exactly one place, done only if handled, dead only if it failed often enough."""
        for index in range(self.bounds.messages):
            bit = 1 << index
            on_books = state.books[index] != OFF_THE_BOOKS
            places = [state.source & bit, state.dead & bit, state.done & bit, *(held & bit for held in state.taken)]
            count = sum(map(bool, places)) + on_books
            if count != 1:
                return f"message {index} is in {count} places"
            if state.done & bit and not state.handled & bit:
                return f"message {index} is done and was never handled"
            if state.dead & bit and state.failures[index] < self.bounds.max_receive_count:
                return f"message {index} is dead after {state.failures[index]} failures"
            if state.retry & bit and any(held & bit for held in state.leases):
                return f"message {index} is due although somebody holds it"
            if on_books and state.books[index] > state.failures[index]:
                return f"message {index} has {state.books[index]} attempts counted and failed {state.failures[index]}"
        return None

    def is_over(self, state: State) -> bool:
        """Every message is done or dead, or the story leaves the bounds of the search."""
        is_beyond = any(client.sessions > self.bounds.sessions for client in state.clients)
        return is_beyond or state.done | state.dead == self.all

    # What can happen

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        if self.is_over(state):
            return
        for owner in range(OWNERS):
            yield from self._deeds(state, owner)
        for request in state.wire:
            yield from self._deliveries(state, request)

    def _deeds(self, state: State, owner: int) -> Iterator[tuple[str, State]]:
        client = state.clients[owner]
        if not client.is_up:
            if not client.has_run and not state.clients[0].is_up:
                yield f"{owner} starts", self._with(state, owner, client._replace(is_up=True, has_run=True))
            return
        yield from self._adversity(state, owner, client)
        yield from self._outcomes(state, owner, client)
        if not client.session:
            yield from self._connect(state, owner, client)
            return
        for kind in ("take", "claim", "beat"):
            yield from self._send(state, Request(kind, owner, client.session))
        for run in client.runs:
            if run.fate:
                request = Request("settle", owner, client.session, run.message, run.fate, run.attempts)
                yield from self._send(state, request)

    def _adversity(self, state: State, owner: int, client: Client) -> Iterator[tuple[str, State]]:
        if owner:
            return  # who is hit is the first
        # What was on its way arrives late, or not at all.
        underway = frozenset(request for request in state.wire if request.owner == owner)
        for wire, how in ((state.wire, "its requests go on"), (state.wire - underway, "and its requests")):
            if state.crashes and self.bounds.is_successor:
                gone = self._with(state, owner, Client(has_run=True))
                yield f"{owner} is killed, {how}", gone._replace(crashes=state.crashes - 1, wire=wire)
            if state.cuts and client.session:
                cut = self._with(state, owner, client._replace(session=0))
                yield f"{owner} loses its connection, {how}", cut._replace(cuts=state.cuts - 1, wire=wire)
        if state.lapses and state.live[owner]:
            lapsed = state._replace(live=put(state.live, owner, 0), lapses=state.lapses - 1)
            yield f"{owner} is silent for too long", lapsed

    def _outcomes(self, state: State, owner: int, client: Client) -> Iterator[tuple[str, State]]:
        for run in client.runs:
            if run.fate:
                continue
            index = run.message
            yield (
                f"{owner} handles {index}",
                self._ended(state, owner, run, OK)._replace(handled=state.handled | 1 << index),
            )
            # Bounded, or the counts would grow for ever where nobody counts them.
            if state.failures[index] < self.bounds.max_receive_count:
                failures = put(state.failures, index, state.failures[index] + 1)
                yield f"{owner} fails with {index}", self._ended(state, owner, run, FAILED)._replace(failures=failures)
            if state.platform_failures:
                left = state.platform_failures - 1
                given_back = self._ended(state, owner, run, GIVEN_BACK)
                yield f"{owner} cannot run {index}", given_back._replace(platform_failures=left)

    def _ended(self, state: State, owner: int, run: Run, fate: str) -> State:
        client = state.clients[owner]
        return self._with(state, owner, client._replace(runs=client.runs - {run} | {run._replace(fate=fate)}))

    def _connect(self, state: State, owner: int, client: Client) -> Iterator[tuple[str, State]]:
        session = client.sessions + 1
        in_hand = mask_of(run.message for run in client.runs)
        connected = self._with(state, owner, client._replace(session=session, sessions=session))
        request = Request("enter", owner, session, keep=in_hand)
        yield f"{owner} connects", connected._replace(wire=state.wire | {request})

    def _send(self, state: State, request: Request) -> Iterator[tuple[str, State]]:
        """One request of a kind at a time, and none before the session has begun."""
        mine = [one for one in state.wire if (one.owner, one.session) == (request.owner, request.session)]
        if any(one.kind == "enter" or (one.kind == request.kind != "settle") or one == request for one in mine):
            return
        yield f"{request.owner} sends {request.kind}", state._replace(wire=state.wire | {request})

    def _dead(self, state: State, owner: int) -> list[int]:
        """Whom this owner takes for dead: the silent, and the run before its own."""
        others = [one for one in range(OWNERS) if one != owner]
        return [one for one in others if not state.live[one] or (self.bounds.is_successor and owner > one)]

    # The server

    def _deliveries(self, state: State, request: Request) -> Iterator[tuple[str, State]]:
        rest = state._replace(wire=state.wire - {request})
        client = state.clients[request.owner]
        is_heard = client.is_up and client.session == request.session
        what = f"{request.owner}'s {request.kind}" + ("" if is_heard else ", late,")
        after = self._execute(rest, request, is_heard=is_heard)
        if after is not None:
            yield f"{what} is executed", after

    def _execute(self, state: State, request: Request, *, is_heard: bool) -> State | None:
        match request.kind:
            case "enter":
                return self._enter(state, request)
            case "beat":
                return self._beat(state, request)
            case "take":
                return self._take(state, request.owner)
            case "claim":
                return self._claim(state, request, is_heard=is_heard)
            case _:
                return self._settle(state, request, is_heard=is_heard)

    def _enter(self, state: State, request: Request) -> State:
        living = self._alive(state, request)
        if living is None:
            return state
        if self.rules.enter_restores:
            living = self._restore(living, request.owner, request.keep)
        return self._take_over(living, request.owner)

    def _beat(self, state: State, request: Request) -> State:
        living = self._alive(state, request)
        return state if living is None else self._take_over(living, request.owner)

    def _alive(self, state: State, request: Request) -> State | None:
        """The sign of life; None if a newer session has begun, which it must not end."""
        owner, session = request.owner, request.session
        if self.rules.sessions_only_grow and session < state.newest[owner]:
            return None
        newest = put(state.newest, owner, max(session, state.newest[owner]))
        return state._replace(live=put(state.live, owner, session), newest=newest)

    def _take(self, state: State, owner: int) -> State | None:
        """The blocking wait; it is not fenced, and waits for as long as there is nothing."""
        if not state.source:
            return None
        bit = state.source & -state.source
        taken = put(state.taken, owner, state.taken[owner] | bit)
        return state._replace(source=state.source & ~bit, taken=taken)

    def _claim(self, state: State, request: Request, *, is_heard: bool) -> State:
        owner = request.owner
        if self.rules.claims_are_fenced and state.live[owner] != request.session:
            return self._refused(state, owner) if is_heard else state
        got = 0
        for pool in (state.taken[owner], state.retry, state.source):
            for index in bits(pool):
                if got.bit_count() < self.bounds.batch:
                    got |= 1 << index
        books = tuple(
            0 if got >> index & 1 and count == OFF_THE_BOOKS else count for index, count in enumerate(state.books)
        )
        state = state._replace(
            source=state.source & ~got,
            taken=put(state.taken, owner, state.taken[owner] & ~got),
            retry=state.retry & ~got,
            leases=put(state.leases, owner, state.leases[owner] | got),
            books=books,
        )
        if not self.rules.claim_is_atomic and not is_heard:
            # Popped by one command, entered by the next, which never came.
            fresh = mask_of(i for i in bits(got) if books[i] == 0)
            books = tuple(OFF_THE_BOOKS if fresh >> i & 1 else count for i, count in enumerate(books))
            return state._replace(books=books, leases=put(state.leases, owner, state.leases[owner] & ~fresh))
        if not self.rules.done_is_last:
            state = self._finished(state, got)
        return self._answered(state, owner, got) if is_heard else state

    def _answered(self, state: State, owner: int, got: int) -> State:
        client = state.clients[owner]
        claimed = frozenset(Run(index, max(state.books[index], 0)) for index in bits(got))
        return self._with(state, owner, client._replace(runs=client.runs | claimed))

    def _refused(self, state: State, owner: int) -> State:
        """A stale session: the client begins another, as after a lost connection."""
        return self._with(state, owner, state.clients[owner]._replace(session=0))

    def _settle(self, state: State, request: Request, *, is_heard: bool) -> State:
        index, bit, owner = request.message, 1 << request.message, request.owner
        is_mine = bool(state.leases[owner] & bit) or not self.rules.only_the_holder_counts
        if request.fate == OK:
            state = self._finished(state, bit)
        elif is_mine and state.books[index] != OFF_THE_BOOKS:
            counts = request.fate == FAILED or not self.rules.platform_failures_are_uncounted
            attempts = request.attempts + counts
            if attempts >= self.bounds.max_receive_count:
                state = state._replace(dead=state.dead | bit, books=put(state.books, index, OFF_THE_BOOKS))
                state = state._replace(retry=state.retry & ~bit)
            else:
                state = state._replace(retry=state.retry | bit, books=put(state.books, index, attempts))
        state = state._replace(leases=put(state.leases, owner, state.leases[owner] & ~bit))
        if not is_heard:
            return state
        client = state.clients[owner]
        settled = Run(index, request.attempts, request.fate)
        return self._with(state, owner, client._replace(runs=client.runs - {settled}))

    def _finished(self, state: State, mask: int) -> State:
        """Done holds wherever the message is, unless it is dead already."""
        mask &= mask_of(i for i, count in enumerate(state.books) if count != OFF_THE_BOOKS)
        return state._replace(
            done=state.done | mask,
            retry=state.retry & ~mask,
            leases=tuple(held & ~mask for held in state.leases),
            books=tuple(OFF_THE_BOOKS if mask >> i & 1 else count for i, count in enumerate(state.books)),
        )

    def _restore(self, state: State, owner: int, keep: int) -> State:
        back = state.leases[owner] & ~keep
        return state._replace(
            source=state.source | state.taken[owner],
            taken=put(state.taken, owner, 0),
            retry=state.retry | back,
            leases=put(state.leases, owner, state.leases[owner] & keep),
        )

    def _take_over(self, state: State, owner: int) -> State:
        if not self.rules.the_dead_are_taken_over:
            return state
        for other in self._dead(state, owner):
            state = self._restore(state, other, 0)
        return state

    def _with(self, state: State, owner: int, client: Client) -> State:
        return state._replace(clients=put(state.clients, owner, client))
