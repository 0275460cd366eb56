import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hearth.config import Settings
from hearth_cli import background
from hearth_cli.console import Failure
from hearth_cli.locations import DataDir

_HOLDER = """
import os, pathlib, signal, sys
from hearth_cli import background
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[2] == "stubborn" else signal.SIG_DFL)
with background.locked(pathlib.Path(sys.argv[1]), sys.argv[3] if len(sys.argv) > 3 else str(os.getpid())):
    print("held", flush=True)
    signal.pause()
"""


@contextmanager
def holder(place: DataDir, manners: str, *content: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds the daemon's lock."""
    command = [sys.executable, "-c", _HOLDER, str(place.lock), manners, *content]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def place(tmp_path: Path) -> DataDir:
    place = DataDir(tmp_path / "data")
    place.create()
    return place


def test_nothing_runs_without_a_lock(place: DataDir) -> None:
    assert background.running_pid(place) is None
    assert not background.stop(place)


def test_a_pid_left_in_an_unlocked_file_means_nothing(place: DataDir) -> None:
    place.lock.write_text(str(os.getpid()))
    assert background.running_pid(place) is None


def test_the_holder_of_the_lock_is_the_daemon(place: DataDir) -> None:
    with holder(place, "polite") as process:
        assert background.running_pid(place) == process.pid


def test_two_cannot_hold_the_lock(place: DataDir) -> None:
    with holder(place, "polite"), pytest.raises(background.AlreadyLocked), background.locked(place.lock):
        pytest.fail("two held the lock")


def test_asking_does_not_take_the_lock(place: DataDir) -> None:
    with background.locked(place.lock):
        pass
    assert not background.is_locked(place.lock)
    with background.locked(place.lock):
        assert background.is_locked(place.lock)


def test_the_lock_of_a_killed_process_is_free(place: DataDir) -> None:
    with holder(place, "polite") as process:
        process.kill()
        process.wait(10)
        assert background.running_pid(place) is None


def test_a_polite_daemon_is_ended_by_asking(place: DataDir) -> None:
    with holder(place, "polite") as process:
        assert background.stop(place)
        assert process.wait(10) == -signal.SIGTERM


def test_a_stubborn_daemon_is_killed(place: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_SECOND_GRACE_S", 0.0)
    with holder(place, "stubborn") as process:
        assert background.stop(place, grace_s=0.0)
        assert process.wait(10) == -signal.SIGKILL


def test_a_lock_that_is_not_the_daemons_is_not_shot_at(place: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_DEATH_LIMIT_S", 0.0)
    with holder(place, "polite", "somebody") as process:
        with pytest.raises(Failure, match="not Hearth's daemon"):
            background.stop(place)
        assert process.poll() is None


def test_ups_and_downs_take_turns(place: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "TURN_LIMIT_S", 0.0)
    with background.turn(place), pytest.raises(Failure, match="still at work"), background.turn(place):
        pytest.fail("two had their turn")


def test_the_daemon_gets_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEARTH_CONFIG", raising=False)
    (tmp_path / "hearth.yaml").write_text("data_dir: mine\n")
    variables = background.daemon_environment(Settings(data_dir=Path("mine")), {"PATH": "/bin"})
    assert variables == {
        "PATH": "/bin",
        "HEARTH_DATA_DIR": str(tmp_path / "mine"),
        "HEARTH_CONFIG": str(tmp_path / "hearth.yaml"),
    }


def test_a_daemons_own_words_come_before_its_output(place: DataDir) -> None:
    assert background.why_it_ended(place) == "it was killed"
    place.output.write_text("Traceback\nImportError: no module\n")
    assert background.why_it_ended(place).endswith("ImportError: no module")
    place.last_exit.write_text("Redis does not answer\n")
    assert background.why_it_ended(place) == "Redis does not answer"
