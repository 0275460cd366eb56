import json
import logging
from pathlib import Path
from typing import Any

import pytest
import structlog

from hearth_cli import journal


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_structured_and_plain_lines_become_json(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with journal.logging_to(path):
        structlog.get_logger("one").info("invoked", function="f", duration_ms=1.5)
        logging.getLogger("two").warning("plain %s", "words")
    first, second = lines(path)
    assert (first["event"], first["function"], first["duration_ms"], first["level"]) == ("invoked", "f", 1.5, "info")
    assert (second["event"], second["logger"], second["level"]) == ("plain words", "two", "warning")
    assert "timestamp" in first


def test_an_exception_is_kept_with_its_frames(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with journal.logging_to(path):
        try:
            password = "s3cret"
            raise ValueError(len(password))
        except ValueError:
            structlog.get_logger("one").exception("oh")
            logging.getLogger("two").exception("oh")
    assert [line["exception"][0]["exc_type"] for line in lines(path)] == ["ValueError", "ValueError"]
    assert "s3cret" not in path.read_text()


def test_the_log_stays_within_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "FILE_BYTES", 10_000)
    with journal.logging_to(tmp_path / "log"):
        for number in range(2_000):
            logging.getLogger("chatty").info("line %d", number)
    files = list(tmp_path.iterdir())
    assert len(files) == journal.FILES_KEPT + 1
    assert all(file.stat().st_size <= 10_000 for file in files)


def test_lost_lines_are_counted_when_the_disk_is_too_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_QUEUE_LINES", 2)
    monkeypatch.setattr(logging.handlers.QueueListener, "start", lambda self: None)
    monkeypatch.setattr(logging.handlers.QueueListener, "stop", lambda self: None)
    with journal.logging_to(tmp_path / "log"):
        (handover,) = (each for each in logging.getLogger().handlers if isinstance(each, journal._Handover))
        records: Any = handover.queue
        for number in range(5):
            logging.getLogger("chatty").info("line %d", number)
        taken = [records.get_nowait().getMessage() for _ in range(2)]
        logging.getLogger("chatty").info("after")
        taken += [records.get_nowait().getMessage() for _ in range(2)]
    assert taken == ["line 0", "line 1", "3 lines were lost: the disk is too slow for the log", "after"]


def test_the_logging_of_others_is_as_before_afterwards(tmp_path: Path) -> None:
    before = (list(logging.getLogger().handlers), logging.getLogger().level)
    with journal.logging_to(tmp_path / "log"):
        pass
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == before
