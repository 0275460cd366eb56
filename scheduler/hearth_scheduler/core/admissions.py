"""Every admitted invocation, from its admission to its end: it waits, it is at work in an environment, it ends.

Rule 1: an admitted request holds a place until it ends; then the place is free for whoever waits for one.
Rule 2: an event that its environment did not live to read goes to another one, before those that wait; but not for
ever: a function that asks for events and dies of itself must not go through containers without end.
"""

from hearth_scheduler.core.caps import Caps
from hearth_scheduler.core.deadlines import Deadlines
from hearth_scheduler.core.effects import Conclude, Dispatch, Effect, Refusal, Verdict
from hearth_scheduler.core.environment import Environment, Signal
from hearth_scheduler.core.policy import Policy
from hearth_scheduler.core.pool import Pool, Request
from hearth_scheduler.core.reservations import Reservations
from hearth_scheduler.core.roster import Roster

MAX_REPEATS = 2
"""How often an event that was not read goes to another environment."""


class Admissions:
    """Owned and changed by the fleet and its parts alone. `requests` are all that have not ended, by their ids;
    `hungry` are the pools in which some of them wait."""

    def __init__(
        self, policy: Policy, roster: Roster, caps: Caps, *, reservations: Reservations, deadlines: Deadlines
    ) -> None:
        self.requests: dict[str, Request] = {}
        self.hungry: dict[Pool, None] = {}
        self._start_timeout_s = policy.start_timeout_s
        self._roster = roster
        self._caps = caps
        self._reservations = reservations
        self._deadlines = deadlines

    def admit(self, request_id: str, pool: Pool, now: float, reservation_id: str) -> Request | Refusal:
        """A request takes a place, or that of a granted reservation."""
        if reservation_id:
            self._reservations.redeem(reservation_id, pool.share)
        else:
            reason = self._caps.refusal(pool.share)
            if reason is not None:
                return Refusal(reason)
            self._caps.occupy(pool.share)
        request = self.requests[request_id] = Request(request_id, pool, now, now + self._start_timeout_s)
        return request

    def wait(self, request: Request, *, is_first: bool = False) -> None:
        """No environment is free."""
        if is_first:
            request.pool.waiting.appendleft(request)
        else:
            request.pool.waiting.append(request)
        self.hungry[request.pool] = None
        self._deadlines.note(request.deadline)

    def assign(self, environment: Environment, request: Request, now: float, effects: list[Effect]) -> None:
        """The environment has taken the request."""
        function = environment.function
        assert function is not None
        environment.move(Signal.ASSIGNED, now, now + function.timeout_s)
        environment.request_id = request.id
        request.environment_id = environment.id
        self._deadlines.note(environment.deadline)
        effects.append(Dispatch(environment.id, request.id))

    def assign_next(self, environment: Environment, pool: Pool, now: float, effects: list[Effect]) -> None:
        """The one that has waited longest has its turn."""
        self.assign(environment, pool.waiting.popleft(), now, effects)
        if not pool.waiting:
            self.hungry.pop(pool, None)

    def settle(self, environment: Environment, now: float, effects: list[Effect], *, may_repeat: bool) -> None:
        """A dead environment's request: elsewhere if it was never read (rule 2), otherwise its end."""
        request = self.requests.get(environment.request_id or "")
        environment.request_id = None
        if request is None:
            return
        is_served = self._roster.pools.get(request.pool.current.key) is request.pool
        if may_repeat and is_served and request.repeats < MAX_REPEATS:
            request.repeats += 1
            request.environment_id = ""
            request.deadline = now + self._start_timeout_s
            self.wait(request, is_first=True)
        else:
            self.conclude(request, Verdict.DIED, effects, environment_id=environment.id)

    def give_up(self, pool: Pool, verdict: Verdict, effects: list[Effect]) -> None:
        """Nobody waits in this pool any longer."""
        for request in list(pool.waiting):
            self.conclude(request, verdict, effects)

    def expire(self, now: float, effects: list[Effect]) -> None:
        """Whoever has waited too long is told; the deadlines of the others are noted anew."""
        for pool in list(self.hungry):
            for request in [r for r in pool.waiting if r.deadline <= now]:
                self.conclude(request, Verdict.NO_ENVIRONMENT, effects)
            if pool.waiting:
                self._deadlines.note(min(r.deadline for r in pool.waiting))

    def conclude(self, request: Request, verdict: Verdict, effects: list[Effect], *, environment_id: str = "") -> None:
        """It ends without an answer of its handler."""
        effects.append(Conclude(request.id, verdict, environment_id))
        self.end(request, effects)

    def end(self, request: Request, effects: list[Effect]) -> None:
        """The request is over (rule 1)."""
        del self.requests[request.id]
        if not request.environment_id:
            request.pool.waiting.remove(request)
            if not request.pool.waiting:
                self.hungry.pop(request.pool, None)
        else:
            environment = self._roster.environments.get(request.environment_id)
            if environment is not None and environment.request_id == request.id:
                environment.request_id = None
        self._caps.vacate(request.pool.share)
        if self._reservations.is_anybody_waiting:
            self._reservations.grant(effects)
