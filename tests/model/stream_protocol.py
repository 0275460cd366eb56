"""The stream protocol of docs/stream-protocol.md, small enough to look at all of it.

One mapping reads entries 0, 1, … of a stream into lanes and runs them in batches. Any request may go astray: then it is
executed at any later time, or never, and its answer is lost. Hearth may be killed at any moment and starts again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.model.list_protocol import bits, mask_of, put

BEGINNING = -1


@dataclass(frozen=True, slots=True)
class Rules:
    """What the protocol insists on."""

    done_is_last: bool = True
    """Acknowledged when the outcome is known."""
    parcels_go_first: bool = True
    """A failure record is durable before its records are acknowledged."""
    pending_comes_first: bool = True
    """A run of Hearth begins with what is pending."""
    lanes_doubt: bool = True
    """A lost answer is looked for among what is pending."""
    reads_are_fenced: bool = True
    """A read of an older session is refused."""
    marks_are_recalled: bool = True
    outcomes_are_repeated: bool = True
    """Until the server has answered."""
    the_missing_come_first: bool = True
    """A lane that misses pending entries takes no new ones."""
    the_rest_is_behind: bool = True
    """A lane that is full remembers from where on entries are left at the server."""
    lanes_tell: bool = True
    """A settlement that is refused as stale makes the feed begin a new session, even if it has nothing to read."""
    debts_are_kept: bool = True
    """What needs no function (filtered out, or gone) is acknowledged until the server has answered."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much there is, and how much adversity. `lanes`: of each entry; `room`: how many entries a lane holds beside
    its batch; `page`: how many are read at once; `filtered`: entries that the filter criteria refuse, as bits."""

    lanes: tuple[int, ...] = (0, 0)
    batch: int = 1
    room: int = 1
    page: int = 2
    retries: int = 0
    is_bisecting: bool = False
    is_partial: bool = False
    filtered: int = 0
    crashes: int = 0
    strays: int = 0
    trims: int = 0


class Mark(NamedTuple):
    """A batch that failed."""

    first: int
    last: int
    attempts: int


class Settlement(NamedTuple):
    """Entries finished with, marks kept and forgotten; and what is given up, in a parcel."""

    done: int = 0
    keep: frozenset[Mark] = frozenset()
    forget: frozenset[int] = frozenset()
    letter: int = 0


class Run(NamedTuple):
    """A batch in a lane's hands; `outcome` is None while it runs."""

    entries: tuple[int, ...]
    attempts: int
    outcome: Settlement | None = None
    is_posted: bool = False


class Lane(NamedTuple):
    """See core/stream_lanes.py. `run` is of the first entries."""

    entries: tuple[int, ...] = ()
    behind: int | None = BEGINNING
    seen: int = BEGINNING
    marks: frozenset[Mark] = frozenset()
    run: Run | None = None


class Hearth(NamedTuple):
    """What a run of Hearth knows. `session` 0: none has begun. `owed`: to be acknowledged by the feed."""

    lanes: tuple[Lane, ...]
    session: int = 0
    has_recalled: bool = False
    owed: int = 0


class Request(NamedTuple):
    """On its way to the server. `lane` is -1 for the feed's; `is_late`: nobody waits for its answer."""

    kind: str
    session: int
    lane: int = -1
    after: int = BEGINNING
    settlement: Settlement = Settlement()
    is_late: bool = False


class State(NamedTuple):
    """The server (`read`: how many entries were delivered), Hearth, the wire, and facts: what was handled, which
    parcels are durable, how often each entry was in a batch that failed, how many failures of the batch that begins
    there are known to be durable, the first promise that a step broke."""

    read: int
    pending: int
    trimmed: int
    marks: frozenset[Mark]
    session: int
    hearth: Hearth | None
    sessions: int
    wire: frozenset[Request]
    handled: int
    posted: int
    failures: tuple[int, ...]
    told: tuple[int, ...]
    crashes: int
    strays: int
    trims: int
    broken: str = ""


Steps = Iterator[tuple[str, State]]


class StreamProtocol:
    """Its first state, its steps and its promises."""

    def __init__(self, bounds: Bounds, rules: Rules | None = None) -> None:
        self.bounds = bounds
        self.rules = rules or Rules()
        self.count = len(bounds.lanes)

    def first(self) -> State:
        bounds = self.bounds
        return State(
            read=0,
            pending=0,
            trimmed=0,
            marks=frozenset(),
            session=0,
            hearth=self._started(),
            sessions=0,
            wire=frozenset(),
            handled=0,
            posted=0,
            failures=(0,) * self.count,
            told=(0,) * self.count,
            crashes=bounds.crashes,
            strays=bounds.strays,
            trims=bounds.trims,
        )

    def _started(self) -> Hearth:
        lane = Lane() if self.rules.pending_comes_first else Lane(behind=None)
        return Hearth((lane,) * (max(self.bounds.lanes) + 1))

    # What must hold

    def broken_promise(self, state: State) -> str | None:
        """What is finished was handled, given up with its parcel posted, filtered out or trimmed; what was given up
        had its attempts."""
        for index in range(self.count):
            bit = 1 << index
            is_finished = index < state.read and not state.pending & bit
            if is_finished and not self._accounted(state) & bit:
                return f"entry {index} is finished and was neither handled nor given up"
            if state.posted & bit and state.failures[index] <= self.bounds.retries:
                return f"entry {index} is given up after {state.failures[index]} failures"
        return state.broken or None

    def _accounted(self, state: State) -> int:
        return state.handled | state.posted | state.trimmed | self.bounds.filtered

    def is_over(self, state: State) -> bool:
        return not state.pending and not (1 << self.count) - (1 << state.read) & ~state.trimmed

    # What can happen

    def steps(self, state: State) -> Steps:
        if self.is_over(state):
            return
        if state.trims:
            oldest = (state.trimmed + 1).bit_length() - 1
            yield f"{oldest} is trimmed", state._replace(trimmed=state.trimmed | 1 << oldest, trims=state.trims - 1)
        if state.hearth is None:
            yield "Hearth starts", state._replace(hearth=self._started())
        else:
            yield from self._crash(state)
            yield from self._feed(state, state.hearth)
            for at, lane in enumerate(state.hearth.lanes):
                yield from self._lane(state, at, lane)
        for request in state.wire:
            rest = state._replace(wire=state.wire - {request})
            name = request.kind + (", late," if request.is_late else "")
            yield f"{name} is executed", self._execute(rest, request)
            if state.strays and not request.is_late:
                astray = self._astray(rest, request)
                yield f"{name} is lost", astray
                late = request._replace(is_late=True)
                yield f"{name} goes astray", astray._replace(wire=astray.wire | {late})

    def _crash(self, state: State) -> Steps:
        if not state.crashes:
            return
        gone = state._replace(hearth=None, crashes=state.crashes - 1)
        late = {one._replace(is_late=True) for one in state.wire}
        yield "Hearth is killed, its requests go on", gone._replace(wire=frozenset(late))
        if state.wire:
            yield "Hearth is killed and its requests", gone._replace(wire=frozenset())

    def _astray(self, state: State, request: Request) -> State:
        """The feed begins a new session; a lane repeats itself."""
        state = state._replace(strays=state.strays - 1)
        assert state.hearth is not None
        if request.lane < 0:
            return self._hearth(state, session=0, owed=state.hearth.owed if self.rules.debts_are_kept else 0)
        if self.rules.outcomes_are_repeated:
            return state
        return self._advanced(state, request)

    # The feed

    def _feed(self, state: State, hearth: Hearth) -> Steps:
        if any(one.lane < 0 and not one.is_late for one in state.wire):
            return
        request = self._next(hearth)
        if request is None:
            return
        state = state._replace(wire=state.wire | {request})
        if request.kind == "enter":
            session = state.sessions + 1
            wire = state.wire - {request} | {request._replace(session=session)}
            state = self._hearth(state._replace(wire=wire, sessions=session), session=session)
        yield f"the feed sends {request.kind}", state

    def _next(self, hearth: Hearth) -> Request | None:
        """What the feed asks for: debts first, then what is missing, then what is new."""
        if not hearth.session:
            return Request("enter", 0)
        if hearth.owed:
            return Request("finish", hearth.session, settlement=Settlement(hearth.owed))
        hungry = [lane for lane in hearth.lanes if self._waiting(lane) < self.bounds.room]
        missing = [lane.behind for lane in hungry if lane.behind is not None]
        if missing:
            return Request("pending", hearth.session, after=min(missing))
        return Request("read", hearth.session) if hungry else None

    def _waiting(self, lane: Lane) -> int:
        return len(lane.entries) - (len(lane.run.entries) if lane.run else 0)

    # A lane

    def _lane(self, state: State, at: int, lane: Lane) -> Steps:
        run = lane.run
        if run is None:
            if lane.entries:
                yield f"lane {at} runs {self._batch(lane)[0]}", self._begun(state, at, lane)
        elif run.outcome is None:
            yield from self._outcomes(state, at, run)
        elif run.outcome.letter and not run.is_posted and self.rules.parcels_go_first:
            yield from self._post(state, at, run)
        else:
            yield from self._send(state, at, run.outcome)

    def _batch(self, lane: Lane) -> tuple[tuple[int, ...], int]:
        """The entries that come next, and how many attempts have failed."""
        head = lane.entries[0]
        for mark in sorted(lane.marks):
            if mark.first <= head <= mark.last:
                return tuple(one for one in lane.entries[: self.bounds.batch] if one <= mark.last), mark.attempts
        ends = min((mark.first for mark in lane.marks if mark.first > head), default=self.count)
        return tuple(one for one in lane.entries[: self.bounds.batch] if one < ends), 0

    def _begun(self, state: State, at: int, lane: Lane) -> State:
        entries, attempts = self._batch(lane)
        before = [one for one in range(entries[0]) if self.bounds.lanes[one] == at]
        if any(not self._accounted(state) >> one & 1 for one in before):
            state = state._replace(broken=f"entry {entries[0]} is run before those before it")
        told = state.told[entries[0]]
        if told > attempts:
            state = state._replace(broken=f"{told - attempts} failures of entry {entries[0]} are forgotten")
        if not self.rules.done_is_last:
            state = state._replace(pending=state.pending & ~mask_of(entries))
        return self._with_lane(state, at, run=Run(entries, attempts))

    def _outcomes(self, state: State, at: int, run: Run) -> Steps:
        entries, last = run.entries, run.entries[-1]
        ok = state._replace(handled=state.handled | mask_of(entries))
        yield f"{at} handles {entries}", self._judged(ok, at, run, len(entries))
        if any(state.failures[one] > self.bounds.retries + 1 for one in entries):
            return  # bounded, or counts would grow for ever where they are forgotten
        failed = self._failed(state, entries)
        attempts = run.attempts + 1
        if self.bounds.is_bisecting and len(entries) > 1:
            middle = len(entries) // 2
            halves = Mark(entries[0], entries[middle - 1], run.attempts), Mark(entries[middle], last, run.attempts)
            yield f"{at} fails with {entries}", self._judged(failed, at, run, 0, halves)
        elif attempts > self.bounds.retries:
            yield f"{at} fails with {entries}", self._judged(failed, at, run, len(entries), (), mask_of(entries))
        else:
            yield f"{at} fails with {entries}", self._judged(failed, at, run, 0, [Mark(entries[0], last, attempts)])
        for place, first in enumerate(entries if self.bounds.is_partial else ()):
            listed = self._failed(state, entries[place:])._replace(handled=state.handled | mask_of(entries[:place]))
            attempts = 1 if place else run.attempts + 1
            if attempts > self.bounds.retries:
                yield f"{at} lists {first}", self._judged(listed, at, run, place + 1, (), 1 << first)
            else:
                yield f"{at} lists {first}", self._judged(listed, at, run, place, [Mark(first, last, attempts)])

    def _failed(self, state: State, entries: Iterable[int]) -> State:
        for one in entries:
            state = state._replace(failures=put(state.failures, one, state.failures[one] + 1))
        return state

    def _judged(
        self, state: State, at: int, run: Run, count: int, marks: Iterable[Mark] = (), letter: int = 0
    ) -> State:
        """What is to be durable: so many are done; the marks of what is over are forgotten."""
        assert state.hearth is not None
        keep = frozenset(marks)
        through = run.entries[count - 1] if count else BEGINNING
        over = {
            mark.first
            for mark in state.hearth.lanes[at].marks
            if mark.last <= through or mark.first <= run.entries[0] <= mark.last
        }
        forget = frozenset(over - {mark.first for mark in keep})
        outcome = Settlement(mask_of(run.entries[:count]), keep, forget, letter)
        return self._with_lane(state, at, run=run._replace(outcome=outcome))

    def _post(self, state: State, at: int, run: Run) -> Steps:
        """To the courier, which answers when it is on disk; posting again changes nothing."""
        assert run.outcome is not None
        posted = state._replace(posted=state.posted | run.outcome.letter)
        yield f"{at} posts its parcel", self._with_lane(posted, at, run=run._replace(is_posted=True))
        if state.strays:
            yield f"{at} posts its parcel and does not hear of it", posted._replace(strays=state.strays - 1)

    def _send(self, state: State, at: int, outcome: Settlement) -> Steps:
        assert state.hearth is not None
        request = Request("settle", state.hearth.session, at, settlement=outcome)
        if not any(one.lane == at and not one.is_late for one in state.wire):
            yield f"{at} settles", state._replace(wire=state.wire | {request})

    # The server

    def _execute(self, state: State, request: Request) -> State:
        match request.kind:
            case "enter":
                return self._enter(state._replace(session=request.session), request)
            case "settle" | "finish":
                return self._settle(state, request)
            case _:
                return self._asked(state, request)

    def _asked(self, state: State, request: Request) -> State:
        if state.session != request.session and (self.rules.reads_are_fenced or not request.is_late):
            return state if request.is_late else self._fenced_off(state, request)
        return self._read(state, request) if request.kind == "read" else self._look(state, request)

    def _enter(self, state: State, request: Request) -> State:
        if request.is_late:
            return state
        assert state.hearth is not None
        if not state.hearth.has_recalled:
            for at in range(len(state.hearth.lanes)):
                own = (mark for mark in state.marks if self.bounds.lanes[mark.first] == at)
                state = self._with_lane(state, at, marks=frozenset(own if self.rules.marks_are_recalled else ()))
        assert state.hearth is not None
        for at, lane in enumerate(state.hearth.lanes):
            if lane.behind is None and self.rules.lanes_doubt and state.hearth.has_recalled:
                state = self._with_lane(state, at, behind=lane.seen)
        return self._hearth(state, has_recalled=True)

    def _settle(self, state: State, request: Request) -> State:
        """Handled is handled, whoever says so; marks are the current session's."""
        wanted = request.settlement
        state = state._replace(pending=state.pending & ~wanted.done)
        if state.session != request.session:
            # Said again, in the session to come.
            is_heard = not request.is_late and (request.lane < 0 or self.rules.lanes_tell)
            return self._fenced_off(state, request) if is_heard else state
        gone = wanted.forget | {mark.first for mark in wanted.keep}
        marks = frozenset(mark for mark in state.marks if mark.first not in gone) | wanted.keep
        state = self._told(state._replace(marks=marks), request)
        if request.is_late:
            return state
        assert state.hearth is not None
        if request.lane < 0:
            return self._hearth(state, owed=state.hearth.owed & ~wanted.done)
        return self._advanced(state, request)

    def _told(self, state: State, request: Request) -> State:
        """What arrives late may bring an earlier count back: that is an attempt more, never one less."""
        for first in request.settlement.forget:
            state = state._replace(told=put(state.told, first, 0))
        for mark in request.settlement.keep:
            told = min(state.told[mark.first], mark.attempts) if request.is_late else mark.attempts
            state = state._replace(told=put(state.told, mark.first, told))
        return state

    def _advanced(self, state: State, request: Request) -> State:
        """The lane's memory moves on."""
        assert state.hearth is not None
        lane, settled = state.hearth.lanes[request.lane], request.settlement
        if not self.rules.parcels_go_first and settled.letter:
            state = state._replace(posted=state.posted | settled.letter)
        gone = settled.forget | {mark.first for mark in settled.keep}
        marks = frozenset(mark for mark in lane.marks if mark.first not in gone) | settled.keep
        entries = tuple(one for one in lane.entries if not settled.done >> one & 1)
        return self._with_lane(state, request.lane, entries=entries, marks=marks, run=None)

    def _fenced_off(self, state: State, request: Request) -> State:
        """The feed is to begin a new session, unless it has, or is about to."""
        is_beginning = any(one.kind == "enter" and not one.is_late for one in state.wire)
        assert state.hearth is not None
        is_over = state.hearth.session == request.session and not is_beginning
        return self._hearth(state, session=0) if is_over else state

    def _read(self, state: State, request: Request) -> State:
        """Not read → pending. Nobody hears of what was trimmed before."""
        there = [one for one in range(state.read, self.count) if not state.trimmed >> one & 1][: self.bounds.page]
        if there:
            state = state._replace(read=there[-1] + 1, pending=state.pending | mask_of(there))
        if request.is_late:
            return state
        for entry in there:
            state = self._take_new(state, entry)
        return state

    def _take_new(self, state: State, entry: int) -> State:
        if self.bounds.filtered >> entry & 1:
            return self._owe(state, entry)
        assert state.hearth is not None
        at = self.bounds.lanes[entry]
        lane = state.hearth.lanes[at]
        if lane.behind is not None and self.rules.the_missing_come_first:
            return state
        if self._waiting(lane) < self.bounds.room:
            return self._with_lane(state, at, entries=(*lane.entries, entry), seen=max(lane.seen, entry))
        return self._with_lane(state, at, behind=lane.seen) if self.rules.the_rest_is_behind else state

    def _look(self, state: State, request: Request) -> State:
        """Pending entries again. Those that the stream has no more are owed."""
        if request.is_late:
            return state
        assert state.hearth is not None
        found = [one for one in bits(state.pending) if one > request.after]
        page, is_last = found[: self.bounds.page], len(found) < self.bounds.page
        behind = {
            at: lane.behind
            for at, lane in enumerate(state.hearth.lanes)
            if lane.behind is not None and lane.behind >= request.after
        }
        full = set()
        for entry in page:
            if (state.trimmed | self.bounds.filtered) >> entry & 1:
                state = self._owe(state, entry)
                continue
            at = self.bounds.lanes[entry]
            if at not in behind or entry <= behind[at] or at in full:
                continue
            assert state.hearth is not None
            lane = state.hearth.lanes[at]
            if self._waiting(lane) >= self.bounds.room:
                full.add(at)
            else:
                entries = (*lane.entries, entry)
                state = self._with_lane(state, at, entries=entries, seen=max(lane.seen, entry), behind=entry)
        for at in behind.keys() - full:
            assert state.hearth is not None
            lane = state.hearth.lanes[at]
            through = max(page[-1] if page else BEGINNING, BEGINNING if lane.behind is None else lane.behind)
            state = self._with_lane(state, at, behind=None if is_last else through)
        return state

    def _owe(self, state: State, entry: int) -> State:
        assert state.hearth is not None
        return self._hearth(state, owed=state.hearth.owed | 1 << entry)

    def _hearth(self, state: State, **changes: object) -> State:
        assert state.hearth is not None
        return state._replace(hearth=state.hearth._replace(**changes))  # type: ignore[arg-type]

    def _with_lane(self, state: State, at: int, **changes: object) -> State:
        assert state.hearth is not None
        lane = state.hearth.lanes[at]._replace(**changes)  # type: ignore[arg-type]
        return self._hearth(state, lanes=put(state.hearth.lanes, at, lane))
