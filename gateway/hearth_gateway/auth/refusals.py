"""Who was not let in to the Lambda API and Hearth's own paths: counted by kind, and a line in the log for the first of
each second, for whoever runs Hearth.

A wrong key in some script is found this way; a stranger who tries a thousand times fills no disk.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping

import structlog

from hearth.core.auth_errors import AuthenticationError
from hearth.core.errors import AccessDenied


class Refusals:
    """Counts refusals by the name of their error. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts: Counter[str] = Counter()
        self._clock = clock
        self._logged_second = -1

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there were, by error."""
        return self._counts

    def note(self, error: Exception, source_ip: str) -> None:
        """Count the error if it is a refusal."""
        if not isinstance(error, AuthenticationError | AccessDenied):
            return
        self._counts[error.code] += 1
        second = int(self._clock())
        if second != self._logged_second:
            self._logged_second = second
            structlog.get_logger().warning("refused", code=error.code, source_ip=source_ip, why=error.message)
