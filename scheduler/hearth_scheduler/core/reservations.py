"""Places asked for ahead of an invocation: who waits for one, and who holds one unused.

Rule 1: granted in order of asking, except that nobody waits behind one whose function is at its cap.
Rule 2: a granted place counts like one in use.
"""

from hearth.core.function import FunctionVersion
from hearth_scheduler.core.caps import Caps, Share
from hearth_scheduler.core.effects import Effect, Grant


class Reservations:
    """Owned and changed by the fleet alone."""

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._waiting: dict[str, FunctionVersion] = {}
        self._granted: dict[str, FunctionVersion] = {}

    def ask(self, reservation_id: str, function: FunctionVersion) -> None:
        self._waiting[reservation_id] = function

    def take_back(self, reservation_id: str) -> bool:
        """It is not wanted any more; whether that frees a place."""
        if self._waiting.pop(reservation_id, None) is not None:
            return False
        function = self._granted.pop(reservation_id, None)
        if function is not None:
            self._caps.vacate(self._caps.share(function.key))
        return function is not None

    def redeem(self, reservation_id: str, share: Share) -> None:
        """A granted place is used, perhaps for another version than it was asked for: an alias may have moved."""
        held = self._caps.share(self._granted.pop(reservation_id).key)
        if held is not share:
            self._caps.vacate(held)
            self._caps.occupy(share)

    def grant(self, effects: list[Effect]) -> None:
        """Give places to those who wait, as far as there are any."""
        for reservation_id, function in list(self._waiting.items()):
            share = self._caps.share(function.key)
            if self._caps.refusal(share) is None:
                del self._waiting[reservation_id]
                self._granted[reservation_id] = function
                self._caps.occupy(share)
                effects.append(Grant(reservation_id))

    @property
    def is_anybody_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def held(self) -> list[Share]:
        """The shares of the places that are held unused."""
        return [self._caps.share(function.key) for function in self._granted.values()]
