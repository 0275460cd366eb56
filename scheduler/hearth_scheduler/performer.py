"""Does what the fleet decided. An effect is performed at once if it only writes to a socket or answers a caller;
otherwise the environments begin a task of their own for it, which ends by feeding the next event to the engine.

Rule 1: a defect in one effect costs that one: the fleet counts on all the others.
Rule 2: whoever called gets an answer, whatever else fails.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import assert_never

import structlog

from hearth.core.invocation import Outcome, PlatformFailed
from hearth.ports import CodeTrees
from hearth_scheduler.calls import Call
from hearth_scheduler.core.effects import (
    Conclude,
    Dispatch,
    Effect,
    Grant,
    Specialise,
    StartFor,
    StartStem,
    Stop,
    StopReason,
    Verdict,
)
from hearth_scheduler.environments import Environments
from hearth_scheduler.member import Member
from hearth_scheduler.reporter import Reporter

log = structlog.get_logger(__name__)


class Performer:
    """Owned by the engine, which shares `calls`, what callers wait for, and `grants`, who waits for a place.
    `last_error` is why an environment could not be made, most recently."""

    def __init__(
        self,
        environments: Environments,
        reporter: Reporter,
        codes: CodeTrees,
        *,
        calls: dict[str, Call],
        grants: dict[str, asyncio.Future[None]],
        counters: Counter[str],
        clock: Callable[[], float],
    ) -> None:
        self.last_error = ""
        self._environments = environments
        self._reporter = reporter
        self._codes = codes
        self._calls = calls
        self._grants = grants
        self._counters = counters
        self._clock = clock

    def perform(self, effects: Iterable[Effect]) -> list[str]:
        """Do them in the order given. The environments returned are of no more use: what they should have done, or
        become, has failed here (rule 1), and nobody may wait for what will not come."""
        useless: list[str] = []
        for effect in effects:
            try:
                self._do(effect)
            except Exception:
                self._counters["defects"] += 1
                log.exception("an effect failed", effect=effect)
                if isinstance(effect, Dispatch | Specialise | StartStem | StartFor):
                    useless.append(effect.environment_id)
        return useless

    def _do(self, effect: Effect) -> None:
        match effect:
            case Dispatch():
                self._dispatch(effect)
            case Conclude():
                self._conclude(effect)
            case StartStem() | StartFor():
                self._start(effect)
            case Specialise():
                self._environments.specialise(
                    effect.environment_id, effect.function, self._codes, is_provisioned=effect.is_provisioned
                )
            case Stop():
                self._stop(effect)
            case Grant():
                self._grant(effect)
            case _:
                assert_never(effect)

    def _start(self, effect: StartStem | StartFor) -> None:
        self._counters["container-starts"] += 1
        if isinstance(effect, StartStem):
            self._environments.start(effect.environment_id, effect.runtime)
        else:
            self._environments.start_for(
                effect.environment_id, effect.function, self._codes, is_provisioned=effect.is_provisioned
            )

    def _grant(self, effect: Grant) -> None:
        granted = self._grants.get(effect.reservation_id)
        if granted is not None and not granted.done():
            granted.set_result(None)

    def _dispatch(self, effect: Dispatch) -> None:
        member = self._environments.members[effect.environment_id]
        call = self._calls[effect.request_id]
        now = self._clock()
        is_cold, member.is_cold = member.is_cold, False
        cold_since = max(0.0, member.specialised_at - max(call.arrived_at, member.began_at)) if is_cold else 0.0
        call.dispatched(now, cold_since=cold_since, init_s=member.init_s if is_cold else 0.0)
        self._counters["cold" if is_cold else "warm"] += 1
        member.call = call
        self._reporter.started(member, call)
        member.talk.event(effect.request_id)
        timeout_s = member.function.timeout_s if member.function else 0
        deadline_ms = int((self._reporter.wall() + timeout_s) * 1000)
        self._environments.deliver(member, call.invocation, deadline_ms)

    def _conclude(self, effect: Conclude) -> None:
        call = self._calls.pop(effect.request_id, None)
        if call is None:
            return
        if call.streamed is not None:
            call.streamed.close()
        member = self._environments.members.get(effect.environment_id)
        try:
            outcome = self._ending(call, effect.verdict, member)
        except Exception as error:  # a defect, but nobody may wait in vain
            self._counters["defects"] += 1
            log.exception("could not conclude a request", request_id=effect.request_id)
            outcome = PlatformFailed(f"{type(error).__name__}: {error}", bool(call.dispatched_at), call.ledger)
        call.resolve(outcome)
        if member is not None and member.call is call:
            member.call = None

    def _ending(self, call: Call, verdict: Verdict, member: Member | None) -> Outcome:
        """What the caller of a request that ends before its time is told."""
        if member is not None:
            member.link.drain_output()
        if call.outcome is not None:
            # It had answered; only the end of the invocation was missing.
            if member is not None and member.call is call:
                self._reporter.finished(member, call, call.answered_at)
            return self._reporter.with_tail(call.outcome, call)
        self._counters[f"verdict-{verdict.value}"] += 1
        call.closed(self._clock())
        oom = member is not None and self._environments.was_out_of_memory(member)
        if member is not None:
            self._environments.sample(member, self._clock(), force=True)
            if oom and member.function is not None:  # nothing is left to read, but this much it was
                member.peak_bytes = member.function.memory_mib * 2**20
        return self._reporter.concluded(call, verdict, member, oom=oom, error=self.last_error)

    def _stop(self, effect: Stop) -> None:
        self._counters[f"stop-{effect.reason.value}"] += 1
        if effect.reason is StopReason.STUCK:
            log.warning("a container is hard to remove", environment=effect.environment_id)
        self._environments.stop(effect.environment_id)
