"""A stem cell: an interpreter that waits, AWS's client loaded, to be told which function it is.

Rule 1: between the specification and the handler's import there is nothing but what the function needs: this is the
cold start. So no `importlib.invalidate_caches()` (it loads a dozen modules: 70 ms instead of 2); the two directories
that have changed are dropped from the import system's memory by name.
Rule 2: what an interpreter reads only while it starts (LD_LIBRARY_PATH, PYTHONHASHSEED, ...) needs a new one: execve,
with the connection kept. The scheduler decides that, per function version.
"""

import json
import os
import site
import socket
import sys
import time

from hearth_runtime import frames
from hearth_runtime.connection import Connection
from hearth_runtime.ric import Ric

_OPT = "/opt/python"
# How the stem speaks to the interpreter it starts anew; the function never sees them.
_FD = "HEARTH_FD"
_HANDLER = "HEARTH_HANDLER"
_OURS = ("HEARTH_SOCKET", "HEARTH_ORPHAN_S", "HEARTH_STEM", _FD, _HANDLER)


def main() -> None:
    """Become a function and serve it for ever."""
    ours = {name: os.environ.pop(name, "") for name in _OURS}
    path, orphan_s = ours["HEARTH_SOCKET"], float(ours["HEARTH_ORPHAN_S"] or 60)
    ric = Ric()
    if ours[_FD]:
        sock = socket.socket(fileno=int(ours[_FD]))
        sock.set_inheritable(False)
        connection, handler = Connection(path, orphan_s, sock), ours[_HANDLER]
    else:
        connection = Connection(path, orphan_s)
        handler = _wait_to_be_specialised(connection, path, orphan_s)
    _enter_task()
    ric.serve(handler, connection)


def _wait_to_be_specialised(connection: Connection, path: str, orphan_s: float) -> str:
    """Wait for `S` and apply it. Returns the handler's name, or not at all (execve)."""
    kind, meta, body = connection.ask(b"", b"stem")
    if kind != frames.SPECIALISE:
        raise RuntimeError(f"the scheduler said {kind!r} instead of what to become")
    specification = json.loads(body)
    environment: dict[str, str] = specification["environment"]
    handler: str = specification["handler"]
    if meta[0] == b"1":
        ours = {"HEARTH_SOCKET": path, "HEARTH_ORPHAN_S": str(orphan_s), _HANDLER: handler}
        start_anew(connection, {**os.environ, **environment, **ours})
    _apply(environment)
    return handler


def start_anew(connection: Connection, environment: dict[str, str]) -> None:
    """Replace this process by a new interpreter with that environment and the same connection."""
    os.set_inheritable(connection.fileno(), True)
    execute(
        {**environment, _FD: str(connection.fileno())},
        [sys.executable, f"{os.environ.get('LAMBDA_RUNTIME_DIR', '/var/runtime')}/bootstrap"],
    )


def execute(environment: dict[str, str], command: list[str]) -> None:
    """Execute the command, through the function's wrapper script if it has one.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html#runtime-wrapper: the script gets the runtime's
    command as its arguments. Messages and statuses of a bad one are those of AWS's start script (and of a shell).
    """
    wrapper = environment.get("AWS_LAMBDA_EXEC_WRAPPER")
    if wrapper:
        if not os.path.isfile(wrapper):
            _refuse(f"{wrapper}: does not exist", 127)
        if not os.access(wrapper, os.X_OK):
            _refuse(f"{wrapper}: is not an executable", 126)
        command = [wrapper, *command]
    try:
        os.chdir(environment.get("LAMBDA_TASK_ROOT", "/var/task"))
        os.execve(command[0], command, environment)
    except OSError as error:
        _refuse(f"{command[0]}: {error.strerror}", 126)


def _refuse(message: str, status: int) -> None:
    print(message, file=sys.stderr, flush=True)
    sys.exit(status)


def _apply(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    if "TZ" in environment:
        time.tzset()


def _enter_task() -> None:
    """Make the function's code and layers the ones that are imported, as on AWS: code, layers, then the rest.

    The code was mounted over the directory after this process started, so the working directory must be entered
    again: until then it is the empty one below.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = f"{_OPT}/lib/{version}/site-packages"
    for directory in (packages, _OPT):
        if os.path.isdir(directory):
            site.addsitedir(directory)  # so that a layer's .pth files work
    task = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    first = [task, packages, _OPT, *_python_path()]
    sys.path[:] = first + [entry for entry in sys.path if entry not in first]
    for directory in first:
        sys.path_importer_cache.pop(directory, None)
    os.chdir(task)


def _python_path() -> list[str]:
    """PYTHONPATH of the function: a fresh interpreter would have read it."""
    return [entry for entry in os.environ.get("PYTHONPATH", "").split(":") if entry]
