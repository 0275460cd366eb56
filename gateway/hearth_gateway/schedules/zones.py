"""Time zones by their names in the IANA database. The package `tzdata` has them where the system does not."""

from datetime import tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo


class UnknownZone(ValueError):
    """There is no time zone of this name."""


@lru_cache(maxsize=1024)
def zone_named(name: str) -> tzinfo:
    """The time zone of this name. Raises UnknownZone."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # names of folders, and paths out of the database
        raise UnknownZone(name) from error
