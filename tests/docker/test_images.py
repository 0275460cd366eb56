"""The images, for real: hardened containers, driven through the environment protocol."""

import errno
import http.server
import json
import os
import queue
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from tests.docker.environment import LABEL, Environment, MakeEnvironment
from tests.unit.base_images.peer import PATIENCE_S, encode

from hearth_cli import images, recipes

pytestmark = pytest.mark.docker

PYTHON = "python3.13"
NODE = "nodejs22.x"
PROVIDED = "provided"
BOTH = pytest.mark.parametrize("runtime", [PYTHON, NODE])

# The same function in each language: what it does is in the event.
FUNCTION: Mapping[str, Mapping[str, str]] = {
    PYTHON: {
        "app.py": """
import os, sys

def handler(event, context):
    match event.get("do"):
        case "print": print("said by " + context.aws_request_id)
        case "print much":
            print("x" * 2_000_000)
            with open("/tmp/printed", "w") as pipe: pipe.write("all")
        case "fail": raise ValueError("no luck")
        case "exit": sys.exit(3)
        case "kill": os.kill(os.getpid(), 9)
        case "spy": os.listdir("/proc/1/fd")
        case "environment": return dict(os.environ)
        case "where": return [os.getcwd(), os.getuid(), os.getgid()]
    return event
"""
    },
    NODE: {
        "app.js": """
const fs = require("fs");
const { execFileSync } = require("child_process");

exports.handler = async (event, context) => {
    switch (event.do) {
        case "print": console.log("said by " + context.awsRequestId); break;
        case "print much": 
            process.stdout.write("x".repeat(2_000_000));
            fs.writeFileSync("/tmp/printed", "all");
            break;
        case "fail": throw new RangeError("no luck");
        case "exit": process.exit(3);
        case "kill": process.kill(process.pid, "SIGKILL"); break;
        case "spy": fs.readdirSync("/proc/1/fd"); break;
        case "environment": return process.env;
        case "where": return [process.cwd(), process.getuid(), process.getgid()];
    }
    return event;
};
"""
    },
}
ENVIRONMENT = {
    "_HANDLER": "app.handler",
    "AWS_LAMBDA_FUNCTION_NAME": "hello",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/hello",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/21/[$LATEST]0",
    "LAMBDA_TASK_ROOT": "/var/task",
}


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    client = images.connect()
    images.build(client, only=recipes.DEFAULTS)
    yield client
    client.close()


@pytest.fixture(scope="session")
def init(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images.extract_init(engine, tmp_path_factory.mktemp("data"))


@pytest.fixture
def make(engine: docker.DockerClient, init: Path, tmp_path: Path) -> Iterator[MakeEnvironment]:
    made: list[Environment] = []

    def environment(image: str) -> Environment:
        made.append(Environment(engine, recipes.reference(image), init, tmp_path / str(len(made))))
        return made[-1]

    yield environment
    for one in made:
        one.close()


def run_in(container: Container | None, *command: str) -> bytes:
    """The output of a command that must succeed."""
    assert container is not None
    status, output = container.exec_run(list(command))
    assert isinstance(output, bytes)
    assert status == 0, output
    return output


def stem(make: MakeEnvironment, runtime: str) -> Environment:
    environment = make(runtime)
    environment.start_stem()
    return environment


@BOTH
def test_the_init_hands_over_the_listening_socket_and_the_output(make: MakeEnvironment, runtime: str) -> None:
    link = stem(make, runtime).init()
    assert link.greeting.meta == ("1", "running", "0", "0")
    assert link.runtime_api.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert link.runtime_api.getsockname() == ("127.0.0.1", 9001)


@BOTH
def test_code_that_appears_after_the_start_is_what_runs(make: MakeEnvironment, runtime: str) -> None:
    environment = stem(make, runtime)
    client = environment.client()
    environment.write(FUNCTION[runtime])
    client.become("app.handler", ENVIRONMENT)
    assert client.invoke({"a": 1}) == {"a": 1}
    assert client.invoke({"do": "where"}, "id-2") == ["/var/task", 993, 990]


@BOTH
def test_output_is_in_the_pipe_when_the_answer_arrives(make: MakeEnvironment, runtime: str) -> None:
    environment = stem(make, runtime)
    link, client = environment.init(), environment.client()
    environment.write(FUNCTION[runtime])
    client.become("app.handler", ENVIRONMENT)
    link.read_output()
    for number in range(20):
        client.event({"do": "print"}, f"id-{number}")
        client.peer.expect(b"R")
        assert link.read_output().endswith(f"said by id-{number}\n")
        client.peer.expect(b"N")


@BOTH
def test_an_error_has_the_shape_of_its_language(make: MakeEnvironment, runtime: str) -> None:
    environment = stem(make, runtime)
    client = environment.client()
    environment.write(FUNCTION[runtime])
    client.become("app.handler", ENVIRONMENT)
    kind, error = client.invoke_to_error({"do": "fail"})
    assert kind == error["errorType"] == {PYTHON: "ValueError", NODE: "RangeError"}[runtime]
    assert error["errorMessage"] == "no luck"
    assert "/var/task/app" in str(error[{PYTHON: "stackTrace", NODE: "trace"}[runtime]])
    assert client.invoke({}, "id-2") == {}


@BOTH
def test_a_function_that_cannot_be_loaded_says_why_and_its_end_is_told(make: MakeEnvironment, runtime: str) -> None:
    environment = stem(make, runtime)
    link, client = environment.init(), environment.client()
    assert client.hello() == "stem"
    client.specialise("absent.handler", ENVIRONMENT)
    frame = client.peer.expect(b"F")
    assert frame.meta == ("Runtime.ImportModuleError",)
    assert frame.json()["errorType"] == "Runtime.ImportModuleError"
    assert link.exit() == ({PYTHON: "1", NODE: "129"}[runtime], "0")


@BOTH
@pytest.mark.parametrize(("deed", "end"), [("exit", ("3", "0")), ("kill", ("0", "9"))])
def test_how_the_runtime_ended_is_told_and_the_container_stays(
    make: MakeEnvironment, runtime: str, deed: str, end: tuple[str, str]
) -> None:
    environment = stem(make, runtime)
    link, client = environment.init(), environment.client()
    environment.write(FUNCTION[runtime])
    client.become("app.handler", ENVIRONMENT)
    client.event({"do": deed})
    assert link.exit() == end
    assert client.peer.is_closed_by_the_other_side()
    assert environment.container is not None
    environment.container.reload()
    assert environment.container.status == "running"


def test_the_scheduler_can_signal_the_runtime_and_end_the_container(make: MakeEnvironment) -> None:
    environment = stem(make, PYTHON)
    link, client = environment.init(), environment.client()
    assert client.hello() == "stem"
    link.peer.send(b"k", ("15",))
    assert link.exit() == ("0", "15")
    link.peer.send(b"q")
    assert environment.wait() == 0


@BOTH
def test_a_warm_environment_outlives_the_scheduler(make: MakeEnvironment, runtime: str) -> None:
    environment = stem(make, runtime)
    link, client = environment.init(), environment.client()
    environment.write(FUNCTION[runtime])
    client.become("app.handler", ENVIRONMENT)
    assert client.invoke({"n": 1}) == {"n": 1}
    environment.listener.close()
    link.peer.close()
    client.peer.close()
    environment.listener.open()
    client = environment.client()
    assert environment.init().greeting.meta == ("1", "running", "0", "0")
    assert client.hello() == "ready"
    assert client.peer.expect(b"R").meta == ("id-1",)  # again: it cannot know that the first one was read
    client.peer.expect(b"N")
    assert client.invoke({"n": 2}, "id-2") == {"n": 2}


@BOTH
def test_a_function_does_not_block_on_its_output_while_no_scheduler_is_there(
    make: MakeEnvironment, runtime: str
) -> None:
    environment = stem(make, runtime)
    link, client = environment.init(), environment.client()
    environment.write(FUNCTION[runtime])
    client.become("app.handler", ENVIRONMENT)
    printed = environment.tmp / "printed"
    os.mkfifo(printed)
    printed.chmod(0o666)
    told = os.open(printed, os.O_RDONLY | os.O_NONBLOCK)
    client.event({"do": "print much"})
    environment.listener.close()
    link.peer.close()
    client.peer.close()
    assert select.select([told], [], [], PATIENCE_S)[0]
    os.close(told)
    environment.listener.open()
    client = environment.client()
    assert client.hello() == "ready"
    assert client.peer.expect(b"R").meta == ("id-1",)


def test_a_runtime_that_ended_while_no_scheduler_was_there_is_reported_by_the_greeting(make: MakeEnvironment) -> None:
    environment = make(PYTHON)
    environment.listener.close()
    environment.start("/bin/sh", "-c", "exit 7")
    environment.listener.open()
    link = environment.init()
    told = link.greeting.meta if link.greeting.meta[1] == "exited" else ("1", "exited", *link.exit())
    assert told == ("1", "exited", "7", "0")


def test_without_a_scheduler_the_container_ends_itself(make: MakeEnvironment) -> None:
    environment = make(PYTHON)
    environment.listener.close()
    environment.start("/bin/sleep", "1000", variables={"HEARTH_ORPHAN_S": "0.2"})
    assert environment.wait() == 0


def test_a_command_that_does_not_exist_ends_as_in_a_shell(make: MakeEnvironment) -> None:
    environment = make(PYTHON)
    environment.start("/var/task/bootstrap")
    link = environment.init()
    ended = link.exit() if link.greeting.meta[1] == "running" else link.greeting.meta[2:]
    assert ended == ("127", "0", "exec", str(errno.ENOENT))
    assert link.read_output() == "/var/task/bootstrap: No such file or directory\n"


def test_a_stopped_container_ends_with_its_runtime(make: MakeEnvironment) -> None:
    environment = make(PYTHON)
    environment.start("/bin/sh", "-c", "trap 'exit 5' TERM; echo ready; sleep 1000 & wait")
    link = environment.init()
    os.set_blocking(link.output, True)
    assert os.read(link.output, 6) == b"ready\n"
    os.set_blocking(link.output, False)
    assert environment.container is not None
    environment.container.kill("SIGTERM")
    assert environment.wait() == 5


def test_frames_in_pieces_and_frames_of_a_later_version_do_not_confuse_the_init(make: MakeEnvironment) -> None:
    environment = make(PYTHON)
    environment.start("/bin/sleep", "1000")
    link = environment.init()
    for byte in encode(b"?", ("whatever",)) + encode(b"k", ("0",)) + encode(b"k", ("999",)) + encode(b"k", ("10",)):
        link.peer.send_raw(bytes([byte]))
    assert link.exit() == ("0", "10")


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", encode(b"k", ("9",), b"body"), b"k" + b"\xff" * 8])
def test_the_init_leaves_one_who_speaks_otherwise_and_comes_back(make: MakeEnvironment, garbage: bytes) -> None:
    environment = make(PYTHON)
    environment.start("/bin/sleep", "1000")
    link = environment.init()
    link.peer.send_raw(garbage)
    assert link.peer.is_closed_by_the_other_side()
    assert environment.init().greeting.meta == ("1", "running", "0", "0")


def test_an_end_that_was_told_is_told_again_by_the_next_greeting_only(make: MakeEnvironment) -> None:
    environment = make(PYTHON)
    environment.start("/bin/sleep", "1000")
    link = environment.init()
    link.peer.send(b"k", ("9",))
    assert link.exit() == ("0", "9")
    link.peer.close()
    again = environment.init()
    assert again.greeting.meta == ("1", "exited", "0", "9")
    again.peer.send(b"q")
    assert again.peer.is_closed_by_the_other_side()
    assert environment.wait() == 0


def test_orphans_are_reaped_and_do_not_count_as_the_runtime(make: MakeEnvironment) -> None:
    environment = make(PYTHON)
    environment.start("/bin/sh", "-c", "(sh -c 'exit 9' &) ; exec sh -c 'exit 4'")
    link = environment.init()
    told = link.greeting.meta[2:] if link.greeting.meta[1] == "exited" else link.exit()
    assert told == ("4", "0")


def test_the_runtime_inherits_three_descriptors(make: MakeEnvironment) -> None:
    environment = make(PYTHON)
    environment.start("/bin/ls", "/proc/self/fd")
    link = environment.init()
    if link.greeting.meta[1] == "running":
        assert link.exit() == ("0", "0")
    assert link.read_output().split() == ["0", "1", "2", "3"]  # 3 is the directory that ls reads


@BOTH
def test_a_function_cannot_look_into_the_init(make: MakeEnvironment, runtime: str) -> None:
    environment = stem(make, runtime)
    client = environment.client()
    environment.write(FUNCTION[runtime])
    client.become("app.handler", ENVIRONMENT)
    _, error = client.invoke_to_error({"do": "spy"})
    assert "permission denied" in str(error["errorMessage"]).lower()


@BOTH
def test_the_function_sees_its_environment_and_nothing_of_ours(make: MakeEnvironment, runtime: str) -> None:
    environment = stem(make, runtime)
    client = environment.client()
    environment.write(FUNCTION[runtime])
    client.become("app.handler", {**ENVIRONMENT, "MINE": "ünï"})
    seen = client.invoke({"do": "environment"})
    assert isinstance(seen, dict)
    assert ENVIRONMENT.items() <= seen.items()
    assert seen["MINE"] == "ünï"
    assert not [name for name in seen if name.startswith("HEARTH")]
    assert seen["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{runtime}"


@BOTH
def test_a_new_interpreter_starts_with_the_functions_environment(make: MakeEnvironment, runtime: str) -> None:
    environment = stem(make, runtime)
    link, client = environment.init(), environment.client()
    environment.write(FUNCTION[runtime])
    wrapper = environment.opt / "wrapper"
    wrapper.write_text('#!/bin/sh\necho "starting $1"\nexport WRAPPED=yes\nexec "$@"\n')
    wrapper.chmod(0o755)
    special = {"LD_LIBRARY_PATH": "/opt/lib", "AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}
    client.become("app.handler", {**ENVIRONMENT, **special}, anew=True)
    seen = client.invoke({"do": "environment"})
    assert isinstance(seen, dict)
    assert (seen["WRAPPED"], seen["LD_LIBRARY_PATH"]) == ("yes", "/opt/lib")
    assert not [name for name in seen if name.startswith("HEARTH")]
    output = link.read_output()
    assert output.startswith("starting /var/lang/bin/"), (output, seen)


def test_a_library_in_a_layer_is_found_although_the_layer_came_late(make: MakeEnvironment) -> None:
    environment = stem(make, PYTHON)
    client = environment.client()
    library = "libhearthtest.so.1"
    environment.write(
        {
            "app.py": f"""
import ctypes, shutil
def handler(event, context):
    ctypes.CDLL("{library}")
    return "found"
"""
        }
    )
    assert client.hello() == "stem"
    # Any library will do; this one is in the image.
    (environment.opt / "lib" / library).write_bytes(
        run_in(environment.container, "sh", "-c", "cat /usr/lib/*/libz.so.1")
    )
    client.specialise("app.handler", ENVIRONMENT)
    client.peer.expect(b"N")
    assert client.invoke({}) == "found"


def test_python_modules_of_layers_are_found_although_the_layers_came_late(make: MakeEnvironment) -> None:
    environment = stem(make, PYTHON)
    client = environment.client()
    files = {"app.py": "import both, first, second\ndef handler(event, context): return [both.x, first.x, second.x]\n"}
    assert client.hello() == "stem"
    packages = environment.opt / "python" / "lib" / PYTHON / "site-packages"
    packages.mkdir(parents=True)
    for path, text in {
        environment.opt / "python" / "first.py": "x = 1",
        packages / "second.py": "x = 2",
        environment.opt / "python" / "both.py": "x = 'layer'",
        environment.task / "both.py": "x = 'function'",
    }.items():
        path.write_text(text)
    environment.write(files)
    client.specialise("app.handler", ENVIRONMENT)
    client.peer.expect(b"N")
    assert client.invoke({}) == ["function", 1, 2]


class RuntimeApi(http.server.BaseHTTPRequestHandler):
    """The two calls of the Runtime API (2018-06-01) that a successful invocation needs."""

    protocol_version = "HTTP/1.1"
    events: queue.Queue[bytes]
    answers: queue.Queue[tuple[str, bytes]]

    def do_GET(self) -> None:
        event = self.events.get(timeout=PATIENCE_S)
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "id-1")
        self.send_header("Lambda-Runtime-Deadline-Ms", "4102444800000")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(event)))
        self.end_headers()
        self.wfile.write(event)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answers.put((self.path, body))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
        pass


class RuntimeApiServer(http.server.ThreadingHTTPServer):
    """On a socket that is already there. Its peer is killed at the end, which is not worth a word."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@pytest.mark.parametrize(
    ("runtime", "command"),
    [
        (PYTHON, ("python3", "-m", "awslambdaric", "app.handler")),
        (PYTHON, ("/var/runtime/bootstrap",)),
        (NODE, ("/var/runtime/bootstrap",)),
    ],
)
def test_aws_own_client_works_on_the_socket_that_was_handed_over(
    make: MakeEnvironment, runtime: str, command: tuple[str, ...]
) -> None:
    environment = make(runtime)
    environment.write(FUNCTION[runtime])
    environment.start(*command, variables={"_HANDLER": "app.handler"})
    path, answer = ask_by_http(environment, b'{"hello": "you"}')
    assert path == "/2018-06-01/runtime/invocation/id-1/response"
    assert json.loads(answer) == {"hello": "you"}


def ask_by_http(environment: Environment, event: bytes) -> tuple[str, bytes]:
    """Be the Runtime API for one event; what the runtime posts, and where. The container ends."""
    link = environment.init()

    class Handler(RuntimeApi):
        events: queue.Queue[bytes] = queue.Queue()
        answers: queue.Queue[tuple[str, bytes]] = queue.Queue()

    Handler.events.put(event)
    with RuntimeApiServer(("127.0.0.1", 0), Handler, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = link.runtime_api.dup()
        server.socket.settimeout(PATIENCE_S)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            return Handler.answers.get(timeout=PATIENCE_S)
        finally:
            assert environment.container is not None
            environment.container.kill("SIGKILL")
            Handler.events.put(b"")  # lets a `next` that waits go
            server.shutdown()
            thread.join(PATIENCE_S)


# A runtime as in AWS's tutorial on custom runtimes: in shell, with curl.
SHELL_RUNTIME = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
headers=$(mktemp)
event=$(curl -sS -D "$headers" "$api/next")
id=$(grep -i '^lambda-runtime-aws-request-id:' "$headers" | tr -d '\\r' | cut -d ' ' -f 2)
curl -sS -d "{\\"by\\": \\"$0 $_HANDLER\\", \\"event\\": $event}" "$api/$id/response"
sleep 1000
"""


@pytest.mark.parametrize(
    ("place", "variables", "program"),
    [
        ("task/bootstrap", {"_HANDLER": "x"}, "/var/task/bootstrap x"),
        ("opt/bootstrap", {"_HANDLER": "x"}, "/opt/bootstrap x"),
        ("task/main", {"_HANDLER": "main", "AWS_EXECUTION_ENV": "AWS_Lambda_go1.x"}, "/var/task/main main"),
    ],
)
def test_a_program_that_brings_its_own_runtime_is_found_and_asks_the_runtime_api(
    make: MakeEnvironment, place: str, variables: Mapping[str, str], program: str
) -> None:
    environment = make(PROVIDED)
    folder, name = place.split("/")
    path = {"task": environment.task, "opt": environment.opt}[folder] / name
    path.write_text(SHELL_RUNTIME)
    path.chmod(0o755)
    environment.start("/var/runtime/bootstrap", variables=variables)
    answered, answer = ask_by_http(environment, b'{"n": 1}')
    assert answered == "/2018-06-01/runtime/invocation/id-1/response"
    assert json.loads(answer) == {"by": program, "event": {"n": 1}}


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (None, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        (0o644, "fork/exec /var/task/bootstrap: permission denied"),
    ],
)
def test_a_program_that_is_missing_or_cannot_be_run_is_the_functions_error(
    make: MakeEnvironment, mode: int | None, message: str
) -> None:
    environment = make(PROVIDED)
    if mode is not None:
        (environment.task / "bootstrap").write_text(SHELL_RUNTIME)
        (environment.task / "bootstrap").chmod(mode)
    environment.start("/var/runtime/bootstrap")
    path, error = ask_by_http(environment, b"")
    assert path == "/2018-06-01/runtime/init/error"
    assert json.loads(error) == {"errorType": "Runtime.InvalidEntrypoint", "errorMessage": message}


def test_images_say_how_they_are_driven(engine: docker.DockerClient) -> None:
    driven = {name: image.is_stem for name, image in images.installed(engine).items()}
    assert {PYTHON: True, NODE: True, PROVIDED: False}.items() <= driven.items()


def wait_until_ready(redis: Container) -> None:
    until_it_answers = "until redis-cli ping 2>&1 | grep -q PONG; do :; done"
    run_in(redis, "timeout", str(PATIENCE_S), "sh", "-c", until_it_answers)


def test_redis_keeps_what_it_was_told_and_runs_without_privileges(engine: docker.DockerClient, tmp_path: Path) -> None:
    redis = engine.containers.run(
        recipes.reference(recipes.REDIS),
        ["--appendfsync", "always"],
        detach=True,
        labels={LABEL: "images"},
        network_mode="none",
        read_only=True,
        cap_drop=["ALL"],
    )
    try:
        wait_until_ready(redis)
        assert run_in(redis, "redis-cli", "SET", "k", "v").strip() == b"OK"
        redis.kill("SIGKILL")
        redis.wait(timeout=PATIENCE_S)
        redis.start()
        wait_until_ready(redis)
        assert run_in(redis, "redis-cli", "GET", "k").strip() == b"v"
        assert b"always" in run_in(redis, "redis-cli", "CONFIG", "GET", "appendfsync")
        assert run_in(redis, "id", "-un").strip() == b"redis"
    finally:
        redis.remove(force=True, v=True)


def test_images_that_are_up_to_date_are_not_built_again(engine: docker.DockerClient) -> None:
    assert images.outdated(engine, only=recipes.DEFAULTS) == []
    assert images.build(engine, only=recipes.DEFAULTS) == []


def test_the_init_is_copied_out_once_and_can_be_executed_by_anybody(
    engine: docker.DockerClient, tmp_path: Path
) -> None:
    path = images.extract_init(engine, tmp_path)
    assert path.stat().st_mode & 0o777 == 0o555
    assert path.parent.name in {file.read_text() for file in (tmp_path / "init").glob("*.sha256")}
    before = path.stat()
    assert images.extract_init(engine, tmp_path) == path
    assert path.stat() == before


def test_the_images_trust_what_the_host_trusts(engine: docker.DockerClient) -> None:
    output = engine.containers.run(
        recipes.reference("debian-base"),
        ["trust-host", "/usr/local/share/hearth/host-ca.crt"],
        remove=True,
        labels={LABEL: "images"},
    )
    assert output.startswith(b"0 certificates of the host added")
