"""The daemon's frame around a scripted `serve`, as a real process: signals, lock, log and last words."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hearth_cli import background
from hearth_cli.lifetime import Exit
from hearth_cli.locations import DataDir

_PROGRAM = """
import asyncio, sys
from pathlib import Path
from hearth.config import Settings
from hearth_cli import lifetime
from hearth_cli.console import Failure

async def serve(settings, stop):
    print("serving", flush=True)
    match sys.argv[2]:
        case "polite":
            await stop.wait()
        case "slow":
            await stop.wait()
            print("asked", flush=True)
            await asyncio.Event().wait()
        case "stuck":
            await stop.wait()
            print("asked", flush=True)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                print("cancelled", flush=True)
                await asyncio.Event().wait()
        case "broken":
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())

async def fail():
    raise Failure("Redis does not answer at 127.0.0.1")

sys.exit(lifetime.run(Settings(data_dir=Path(sys.argv[1])), serve))
"""

Started = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def place(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "data")


@pytest.fixture
def started(place: DataDir, tmp_path: Path) -> Iterator[Started]:
    processes: list[subprocess.Popen[str]] = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEARTH_")}

    def start(manners: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", _PROGRAM, str(place.root), manners]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def logged(place: DataDir) -> list[dict[str, object]]:
    return [json.loads(line) for line in place.log.read_text().splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_ends_it_in_good_order(place: DataDir, started: Started, number: signal.Signals) -> None:
    process = started("polite")
    assert said(process) == "serving"
    process.send_signal(number)
    assert process.wait(30) == Exit.OK
    assert [line["event"] for line in logged(place)] == ["starting", "asked to stop", "stopped"]


def test_it_holds_the_lock_and_says_its_pid(place: DataDir, started: Started) -> None:
    process = started("polite")
    assert said(process) == "serving"
    assert background.running_pid(place) == process.pid


def test_a_closing_terminal_is_nothing_to_it(started: Started) -> None:
    process = started("polite")
    assert said(process) == "serving"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == Exit.OK


def test_the_second_signal_cancels(started: Started) -> None:
    process = started("slow")
    assert said(process) == "serving"
    process.send_signal(signal.SIGTERM)
    assert said(process) == "asked"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == Exit.OK


def test_the_third_signal_ends_it_on_the_spot(started: Started) -> None:
    process = started("stuck")
    words = []
    for _ in range(3):
        words.append(said(process))
        process.send_signal(signal.SIGTERM)
    assert words == ["serving", "asked", "cancelled"]
    assert process.wait(30) == Exit.INSISTED


def test_a_second_daemon_goes_away(place: DataDir, started: Started) -> None:
    first = started("polite")
    assert said(first) == "serving"
    assert started("polite").wait(30) == Exit.ALREADY_RUNNING
    assert background.running_pid(place) == first.pid


def test_the_reason_of_a_crash_is_logged_and_left_for_up_to_show(place: DataDir, started: Started) -> None:
    assert started("broken").wait(30) == Exit.FAILED
    assert background.why_it_ended(place) == "Redis does not answer at 127.0.0.1"
    last = logged(place)[-1]
    assert last["event"] == "ended by an error"
    assert "exception" in last
