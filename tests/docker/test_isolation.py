"""What a hostile function can do to others: nothing. Each does its worst while a neighbour must go on answering."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.docker.house import NODE, Answer, House, eventually
from tests.docker.witness import CLIENT, WHO, Witness

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def neighbour(hearth: House) -> str:
    return hearth.create("neighbour", "def handler(event, context):\n    return event\n")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as found:
        yield found


def beside(hearth: House, pool: ThreadPoolExecutor, hostile: str, neighbour: str, event: Any = None) -> Answer:
    """Run the hostile function; as long as it runs the neighbour answers, and answers right."""
    running = pool.submit(hearth.invoke, hostile, event)
    calls = 0
    while not running.done() or calls < 3:
        calls += 1
        answer = hearth.invoke(neighbour, {"call": calls})
        assert (answer.error, answer.value) == (None, {"call": calls})
    return running.result()


def environments_alive(hearth: House) -> set[str]:
    return {each.labels["hearth.environment"] for each in hearth.containers()}


class TestPrivileges:
    @pytest.mark.parametrize("runtime", ["python3.13", NODE])
    def test_the_runtime_has_no_privilege(self, hearth: House, runtime: str) -> None:
        read = "def handler(event, context):\n    return open('/proc/self/status').read()\n"
        if runtime == NODE:
            read = "exports.handler = async () => require('fs').readFileSync('/proc/self/status', 'utf8');"
        text = hearth.invoke(hearth.create("status", read, runtime=runtime)).value
        status = {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[capabilities], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        assert status["Uid"].split() == ["993"] * 4
        assert status["Gid"].split() == ["990"] * 4
        assert status["Groups"].split() in ([], ["990"])

    def test_only_tmp_can_be_written(self, hearth: House) -> None:
        code = """
import os

def attempt(folder):
    try:
        with open(os.path.join(folder, "x"), "w"):
            return "written"
    except OSError as error:
        return "refused"

def handler(event, context):
    os.chmod("/tmp", 0o700) if os.stat("/tmp").st_uid == os.getuid() else None
    return {folder: attempt(folder) for folder in event}
"""
        name = hearth.create("writes", code)
        refused = ["/", "/var/task", "/var/runtime", "/opt", "/usr", "/etc", "/run", "/run/hearth", "/hearth", "/proc"]
        answer = hearth.invoke(name, [*refused, "/tmp"])
        assert answer.value == {**dict.fromkeys(refused, "refused"), "/tmp": "written"}

    def test_the_code_is_read_only_and_each_sees_only_its_own(self, hearth: House) -> None:
        code = """
import os

def handler(event, context):
    try:
        os.chmod("/var/task/app.py", 0o777)
        changed = True
    except OSError:
        changed = False
    return [sorted(os.listdir("/var/task")), os.getcwd(), changed]
"""
        files, folder, changed = hearth.invoke(hearth.create("own", code)).value
        assert set(files) <= {"app.py", "__pycache__", "lib"}
        assert folder == "/var/task"
        assert changed is False

    def test_nothing_of_the_platform_is_in_the_environment(self, hearth: House) -> None:
        code = """
import glob, os

def handler(event, context):
    seen = {}
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            seen[path] = open(path, "rb").read().decode()
        except OSError:
            pass
    return [dict(os.environ), seen]
"""
        hearth.invoke(hearth.create("secretive", "def handler(e, c): return 1\n", variables={"SECRET": "hush-hush"}))
        own, seen = hearth.invoke(hearth.create("curious", code, variables={"MINE": "1"})).value
        assert own["MINE"] == "1"
        assert not [key for key in own if key.startswith("HEARTH")]
        assert "hush-hush" not in json.dumps([own, seen])

    def test_the_limit_of_open_files_is_the_documented_one(self, hearth: House) -> None:
        code = """
import os

def handler(event, context):
    opened = []
    try:
        while len(opened) < 5000:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        return [error.errno, len(opened)]
    finally:
        for each in opened:
            os.close(each)
"""
        errno, opened = hearth.invoke(hearth.create("files", code)).value
        assert errno == 24
        assert 900 < opened <= 1024


class TestNetwork:
    def test_functions_reach_neither_each_other_nor_more_of_the_host_than_the_one_port(
        self, hearth: House, witness: Witness, pool: ThreadPoolExecutor
    ) -> None:
        listener = hearth.create(
            "listener",
            CLIENT
            + """
def handler(event, context):
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    host, port = os.environ["WITNESS"].rsplit(":", 1)
    probe.connect((host, int(port)))
    own = probe.getsockname()[0]
    with socket.create_server(("0.0.0.0", 0)) as server:
        server.settimeout(6)
        tell(f"listening {own} {server.getsockname()[1]}")
        try:
            peer = server.accept()[1][0]
        except TimeoutError:
            return "nobody"
        return peer
""",
            variables={"WITNESS": witness.address},
        )
        caller = hearth.create(
            "caller",
            """
import socket

def handler(event, context):
    found = []
    for host, port in event:
        try:
            socket.create_connection((host, port), timeout=1.5).close()
            found.append("reached")
        except OSError:
            found.append("refused")
    return found
""",
        )
        listening = pool.submit(hearth.invoke, listener)
        eventually(lambda: witness.count() > 0, "the listener listens", 20)
        _, host, port = witness.lines()[0].split()
        redis_port = int(hearth.redis().connection_pool.connection_kwargs["port"])
        gateway, ear = witness.address.rsplit(":", 1)
        targets = [[host, int(port)], [gateway, hearth.port], [gateway, redis_port], [gateway, int(ear)]]
        # The platform proves who sends a request; its Redis is reached by nobody from there.
        assert hearth.invoke(caller, targets).value == ["refused", "reached", "refused", "reached"]
        assert listening.result().value == "nobody"


class TestDisk:
    def test_tmp_has_its_size_and_is_not_charged_to_memory(self, hearth: House) -> None:
        code = """
import os

def handler(event, context):
    if event == "left":
        return os.listdir("/tmp")
    piece = bytes(2**20)
    with open("/tmp/big", "wb") as file:
        for _ in range(200):
            file.write(piece)
    with open("/tmp/rest", "wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, 400 * 2**20)
            return "no limit"
        except OSError as error:
            return [error.errno, os.path.getsize("/tmp/big")]
"""
        name = hearth.create("disk", code, timeout_s=60)
        answer = hearth.invoke(name)
        assert answer.value == [28, 200 * 2**20], answer
        assert int(re.findall(r"Max Memory Used: (\d+) MB", answer.log)[0]) < 100
        # It is the environment's own, and stays as long as that does.
        assert "big" in hearth.invoke(name, "left").value

    def test_a_larger_tmp_is_given_to_who_asked_for_it(self, hearth: House) -> None:
        code = (
            "import os\ndef handler(e, c):\n    s = os.statvfs('/tmp')\n    return s.f_frsize * s.f_bavail // 2**20\n"
        )
        assert 480 <= hearth.invoke(hearth.create("small", code)).value <= 560
        assert 1000 <= hearth.invoke(hearth.create("large", code, EphemeralStorage={"Size": 1024})).value <= 1080


class TestHarm:
    def test_a_fork_bomb_harms_nobody_and_is_gone_after_its_timeout(
        self, hearth: House, neighbour: str, pool: ThreadPoolExecutor, witness: Witness
    ) -> None:
        code = (
            CLIENT
            + WHO
            + """
def handler(event, context):
    if event:
        return event
    tell(environment())
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""
        )
        name = hearth.create("bomb", code, timeout_s=3, variables={"WITNESS": witness.address})
        answer = beside(hearth, pool, name, neighbour)
        assert answer.value["errorType"] == "Sandbox.Timedout"
        bomb = witness.lines()[0]
        eventually(lambda: bomb not in environments_alive(hearth), "its container is gone", 20)
        assert hearth.invoke(name, "again").value == "again"

    def test_a_memory_hog_is_out_of_memory_and_the_next_call_works(
        self, hearth: House, neighbour: str, pool: ThreadPoolExecutor
    ) -> None:
        code = """
def handler(event, context):
    if event:
        return event
    held = []
    while True:
        held.append(b"x" * 2**20)
"""
        name = hearth.create("hog", code)
        answer = beside(hearth, pool, name, neighbour)
        assert answer.value["errorType"] == "Runtime.OutOfMemory", answer
        assert answer.value["errorMessage"].endswith("Runtime exited with error: signal: killed")
        assert answer.log.endswith("Status: error\tError Type: Runtime.OutOfMemory\n")
        assert int(re.findall(r"Max Memory Used: (\d+) MB", answer.log)[0]) > 100
        assert hearth.invoke(name, "again").value == "again"

    @pytest.mark.parametrize(
        "deed",
        [
            "os.closerange(3, 1024)",
            "os.closerange(0, 1024)",
            "os.kill(1, 15)",
            "os.kill(-1, 9)",
            "[os.kill(int(p), 9) for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()] and 0",
            "os.kill(os.getpid(), 19)",
        ],
    )
    def test_one_that_ends_its_own_life_gets_an_error_and_a_new_one(
        self, hearth: House, neighbour: str, pool: ThreadPoolExecutor, deed: str
    ) -> None:
        code = (
            f"import os\ndef handler(event, context):\n    if event: return event\n    {deed}\n    return 'survived'\n"
        )
        name = hearth.create("suicide", code, timeout_s=3)
        answer = beside(hearth, pool, name, neighbour)
        assert answer.error == "Unhandled" or answer.value == "survived"
        assert hearth.invoke(name, "again").value == "again"

    @pytest.mark.parametrize(
        "forgery",
        [
            "frame(b'H', b'1\\0ready')",
            "frame(b'H', b'1\\0ready') + frame(b'N', b'')",
            "frame(b'H', b'1\\0ready') + frame(b'R', b'0' * 36, b'\"mine\"')",
            "frame(b'H', b'1\\0ready') + frame(b'R', context.aws_request_id.encode(), b'\"mine\"')",
            "frame(b'i', b'1\\0running\\0 0\\0')",
            "b'H' + struct.pack('>II', 2**32 - 1, 2**32 - 1)",
            "os.urandom(100_000)",
        ],
        ids=["greeting", "readiness", "foreign answer", "own answer", "init", "endless", "noise"],
    )
    def test_one_that_forges_frames_harms_nobody(
        self, hearth: House, neighbour: str, pool: ThreadPoolExecutor, forgery: str
    ) -> None:
        code = f"""
import os, socket, struct

def frame(kind, meta, body=b""):
    return kind + struct.pack(">II", len(meta), len(body)) + meta + body

def handler(event, context):
    if event:
        return event
    held = []
    for _ in range(200):
        try:
            forger = socket.socket(socket.AF_UNIX)
            forger.settimeout(0.2)
            forger.connect("/run/hearth/environment.sock")
            forger.sendall({forgery})
            held.append(forger)
        except OSError:
            pass
    return "done"
"""
        name = hearth.create("forger", code, timeout_s=5, memory_mb=256)
        answer = beside(hearth, pool, name, neighbour)
        assert answer.error == "Unhandled" or answer.value in ("done", "mine")
        assert hearth.invoke(name, "again").value == "again"
        assert hearth.health()["status"] == "ok"

    def test_100_mb_of_output_neither_fill_the_platform_nor_block_a_neighbour(
        self, hearth: House, neighbour: str, pool: ThreadPoolExecutor
    ) -> None:
        code = """
def handler(event, context):
    for _ in range(1024):
        print("x" * 99_999)
    print("the end")
"""
        name = hearth.create("loud", code, memory_mb=1769, timeout_s=60)
        Path(f"/proc/{hearth.pid()}/clear_refs").write_text("5")  # begin a new peak
        before = _resident_mib(hearth)
        answer = beside(hearth, pool, name, neighbour)
        assert answer.error is None, answer
        assert "the end\n" in answer.log
        grown = _resident_mib(hearth) - before
        print(f"the daemon grew by {grown} MiB at its peak", flush=True)
        assert grown < 150
        eventually(lambda: "the end" in hearth.log(name, 100_000), "the newest output is there")
        assert len(hearth.log(name, 2**30)) <= 17 * 2**20

    def test_what_runs_on_in_the_background_ends_with_its_environment(self, hearth: House) -> None:
        code = (
            WHO
            + """
import subprocess

def handler(event, context):
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    subprocess.Popen(["sh", "-c", "setsid sleep 1000 & setsid sleep 1000 &"])
    return environment()
"""
        )
        name = hearth.create("daemonic", code)
        found = hearth.invoke(name).value
        assert hearth.invoke(name).value == found
        assert found in environments_alive(hearth)
        hearth.api.delete_function(FunctionName=name)
        eventually(lambda: found not in environments_alive(hearth), "its container is gone", 20)


def _resident_mib(hearth: House) -> int:
    """The most memory that the daemon had since its peak was reset. Source: proc(5), clear_refs."""
    status = Path(f"/proc/{hearth.pid()}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024
