"""What the HTTP implementation may write into the log.

Bytes that are no HTTP are the sender's mistake: they are answered with 400. A line with a traceback for each of them
would let everybody who reaches the port fill the disk.
"""

import logging

from aiohttp.http_exceptions import HttpProcessingError


class _Malformed(logging.Filter):
    """Keeps what is about malformed requests out of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, HttpProcessingError)


_MALFORMED = _Malformed()


def server_log() -> logging.Logger:
    """The HTTP implementation's own log, without malformed requests."""
    log = logging.getLogger("aiohttp.server")
    log.addFilter(_MALFORMED)
    return log
