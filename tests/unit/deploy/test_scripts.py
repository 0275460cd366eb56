"""The shell scripts' shared functions, each run in a bash of its own against scripted surroundings."""

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[3]
_SCRIPTS = sorted([*(_ROOT / "deploy").glob("*.sh"), _ROOT / ".ci" / "run"])


def bash(script: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs a piece of bash after lib.sh was read, as the scripts do."""
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n. {_ROOT}/deploy/lib.sh\n{script}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables},
    )


@contextmanager
def engine(path: Path, answer: bytes) -> Iterator[str]:
    """Something that listens like a Docker engine and gives every caller the same answer."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, name="engine")
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            thread.join()


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda path: path.name)
def test_every_script_is_valid_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("script", ["up.sh", "down.sh"])
def test_a_wrong_argument_is_exit_code_two(script: str) -> None:
    done = subprocess.run([_ROOT / "deploy" / script, "--wrong"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_an_engine_that_answers_is_found(tmp_path: Path) -> None:
    with engine(tmp_path / "s", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK") as host:
        assert bash("ensure_engine", DOCKER_HOST=host).returncode == 0


def test_an_engine_in_trouble_is_none(tmp_path: Path) -> None:
    with engine(tmp_path / "s", b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n") as host:
        assert bash("engine_answers", DOCKER_HOST=host).returncode != 0


def test_a_named_engine_that_is_silent_is_one_clear_sentence(tmp_path: Path) -> None:
    done = bash("ensure_engine", DOCKER_HOST=f"unix://{tmp_path}/none")
    assert done.returncode == 1
    assert done.stderr == f"hearth: no Docker engine answers at DOCKER_HOST=unix://{tmp_path}/none\n"


def test_a_slow_step_shows_its_output_only_when_it_fails() -> None:
    assert "noise" not in bash("quietly 'a step' echo noise").stderr
    failed = bash("quietly 'a step' sh -c 'echo noise; exit 3' || echo survived")
    assert "noise" in failed.stderr
    assert failed.stdout == "survived\n"


def test_the_stamp_follows_what_the_installation_depends_on() -> None:
    script = """python=$(find_python)
    _venv_stamp "$python" ""; _venv_stamp "$python" ""; _venv_stamp "$python" "[dev]"
    cat() { echo changed; }; _venv_stamp "$python" "" """
    first, again, with_extras, elsewhere = bash(script).stdout.split()
    assert first == again
    assert len({first, with_extras, elsewhere}) == 3


def test_an_installation_for_the_tests_serves_the_command_too(tmp_path: Path) -> None:
    script = f"""VENV={tmp_path}; python=$(find_python)
    _venv_stamp "$python" "[dev]" >"$VENV/.hearth-stamp"
    _venv_has "$python" "" && echo command
    _venv_has "$python" "[dev]" && echo tests
    _venv_stamp "$python" "" >"$VENV/.hearth-stamp"
    _venv_has "$python" "[dev]" || echo not for tests"""
    assert bash(script).stdout == "command\ntests\nnot for tests\n"


def test_a_python_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    newer = tmp_path / "python3.13"
    newer.write_text("#!/bin/sh\nexit 0\n")
    newer.chmod(0o755)
    assert bash("find_python", PATH=f"{tmp_path}:/usr/bin:/bin").stdout == f"{newer}\n"


def test_no_package_hides_the_standard_library() -> None:
    assert not (_ROOT / "platform" / "__init__.py").exists()
