"""When the fleet has to be asked next, if nothing happens before."""

from hearth_scheduler.core.environment import NEVER


class Deadlines:
    """`soonest` is a lower bound of every deadline there is. Each part of the fleet notes here what it sets; one that
    was met is not taken back: a tick that finds nothing due costs little, keeping an order of all of them would cost
    every invocation."""

    __slots__ = ("soonest",)

    def __init__(self) -> None:
        self.soonest = NEVER

    def note(self, deadline: float) -> None:
        self.soonest = min(self.soonest, deadline)

    def begin_anew(self) -> None:
        """All of them are about to be noted again."""
        self.soonest = NEVER
