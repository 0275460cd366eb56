"""A runtime client as a process on this machine, and the scheduler's end of its socket."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.unit.base_images.peer import PATIENCE_S, Client, Listener

_IMAGES = Path(__file__).parents[3] / "base_images"


@dataclass(slots=True)
class Cell:
    """A stem cell under test."""

    process: subprocess.Popen[bytes]
    client: Client
    listener: Listener
    task: Path
    environment: Mapping[str, str]

    def become(self, handler: str, code: str | Mapping[str, str], *, anew: bool = False, **environment: str) -> None:
        """Write the code, specialise, and wait until the client is ready for events."""
        self.write(code)
        self.client.become(handler, {**self.environment, **environment}, anew=anew)

    def fail_to_become(
        self, handler: str, code: str | Mapping[str, str], **environment: str
    ) -> tuple[str, dict[str, object]]:
        """The same, for a function that cannot be initialised: error type and error."""
        self.write(code)
        assert self.client.hello() == "stem"
        self.client.specialise(handler, {**self.environment, **environment})
        frame = self.client.peer.expect(b"F")
        return frame.meta[0], frame.json()

    def write(self, code: str | Mapping[str, str]) -> None:
        files = {self.main_file: code} if isinstance(code, str) else code
        for name, text in files.items():
            path = self.task / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    main_file: str = "app.py"

    def output(self) -> str:
        """Everything it wrote; waits for its end."""
        return self.process.communicate(timeout=PATIENCE_S)[0].decode()

    def status(self) -> int:
        return self.process.wait(PATIENCE_S)


Spawn = Callable[[list[str], Mapping[str, str]], Cell]


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawn]:
    """Starts clients; ends them after the test."""
    cells: list[Cell] = []

    def start(command: list[str], variables: Mapping[str, str]) -> Cell:
        task = tmp_path / "task"
        task.mkdir()
        listener = Listener(tmp_path)
        environment = {
            "PATH": os.environ["PATH"],
            "HEARTH_SOCKET": str(listener.path),
            "HEARTH_STEM": "1",
            "HEARTH_ORPHAN_S": str(PATIENCE_S),
            **variables,
        }
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        cells.append(Cell(process, Client(listener.accept), listener, task, {"LAMBDA_TASK_ROOT": str(task)}))
        return cells[-1]

    yield start
    for cell in cells:
        cell.process.kill()
        cell.process.communicate(timeout=PATIENCE_S)
        cell.client.peer.close()
        cell.listener.close()


@pytest.fixture
def python_cell(spawn: Spawn) -> Cell:
    folder = _IMAGES / "python"
    return spawn([sys.executable, str(folder / "bootstrap")], {"LAMBDA_RUNTIME_DIR": str(folder)})
