"""The daemon's log: JSON lines in a file of bounded size, written by a thread of its own.

Rule 1: logging never blocks the event loop. A full queue loses lines, and says how many as soon as there is room.
"""

import logging
import logging.handlers
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

FILE_BYTES = 16 * 2**20
FILES_KEPT = 3
_QUEUE_LINES = 10_000

# Without the frames' local variables: they hold passwords and payloads.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))

_SHARED: tuple[structlog.types.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    # Here and not in the writer's thread, which would look for the exception being handled in itself.
    _TRACEBACKS,
)


class _Handover(logging.handlers.QueueHandler):
    """Hands records to the writer's queue; when it is full the record is lost, and counted."""

    def __init__(self, records: "queue.Queue[logging.LogRecord]") -> None:
        super().__init__(records)
        self._lost = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """As it is: the standard way renders the message to text, which would lose structlog's fields."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self._lost:
                lost = logging.makeLogRecord(
                    {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING"}
                    | {"msg": f"{self._lost} lines were lost: the disk is too slow for the log"}
                )
                self.queue.put_nowait(lost)
                self._lost = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._lost += 1


@contextmanager
def logging_to(path: Path, level: int = logging.INFO) -> Iterator[None]:
    """Everything logged inside, by structlog or the standard library, goes to the file; flushed at the end."""
    writer = logging.handlers.RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT)
    writer.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    records: queue.Queue[logging.LogRecord] = queue.Queue(_QUEUE_LINES)
    listener = logging.handlers.QueueListener(records, writer)
    handover = _Handover(records)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handover)
    root.setLevel(level)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(handover)
        root.setLevel(before)
        listener.stop()
        writer.close()
        structlog.reset_defaults()
