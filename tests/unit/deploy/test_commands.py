"""The command as a whole, without an engine or a daemon: what it prints where, and its exit codes."""

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner, Result

from hearth_cli.main import app

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in an empty directory, with a data directory and ports of its own."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HEARTH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HEARTH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HEARTH_PORT", "1")  # nobody listens there
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


class _Page(http.server.BaseHTTPRequestHandler):
    """Plays the daemon: three entries of log, and an Invoke that answers with its own payload."""

    def do_GET(self) -> None:
        lines = (b'[1, "s", "START\\n"]\n', b'[2, "s", "one\\ntwo"]\n', b'[3, "s", "\\nEND\\n"]\n')
        self._answer(200, b"".join(lines)) if "/logs/f?" in self.path else self._answer(404, b'{"Message": "no f"}')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        failed = b"fail" in body
        self._answer(200, body, **({"X-Amz-Function-Error": "Unhandled"} if failed else {}))

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body)), "Server-Timing": "handler;dur=2"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture
def daemon(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, name="page")
        thread.start()
        monkeypatch.setenv("HEARTH_PORT", str(server.server_port))
        yield
        server.shutdown()
        thread.join()


def test_env_prints_what_a_shell_can_eval(run: Run, tmp_path: Path) -> None:
    result = run("env")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.partition("=")[0] for line in lines] == [
        "export AWS_ENDPOINT_URL",
        "export AWS_ACCESS_KEY_ID",
        "export AWS_SECRET_ACCESS_KEY",
        "export AWS_REGION",
        "export AWS_DEFAULT_REGION",
        "export HEARTH_REDIS_URL",
    ]
    assert lines[0] == "export AWS_ENDPOINT_URL=http://127.0.0.1:1"


def test_env_names_a_redis_that_redis_clients_understand(run: Run) -> None:
    url = urlsplit(json.loads(run("env", "--json").stdout)["HEARTH_REDIS_URL"])
    assert (url.scheme, url.hostname, url.port, len(url.password or "")) == ("redis", "127.0.0.1", 9401, 48)


def test_a_shell_that_evaluated_env_still_means_hearths_own_redis(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    own = json.loads(run("env", "--json").stdout)["HEARTH_REDIS_URL"]
    monkeypatch.setenv("HEARTH_REDIS_URL", own)
    assert json.loads(run("config", "--json").stdout)["redis_url"]["value"] is None
    monkeypatch.setenv("HEARTH_REDIS_URL", "redis://somewhere:6379/0")
    assert json.loads(run("config", "--json").stdout)["redis_url"]["value"] == "redis://somewhere:6379/0"


def test_env_of_an_open_address_names_one_that_can_be_reached(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTH_HOST", "0.0.0.0")
    assert json.loads(run("env", "--json").stdout)["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"


def test_config_says_where_a_value_comes_from(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hearth.toml").write_text('region = "eu-west-1"\nport = 5\n')
    shown = json.loads(run("config", "--json").stdout)
    assert shown["region"] == {"value": "eu-west-1", "source": "hearth.toml"}
    assert shown["port"] == {"value": 1, "source": "HEARTH_PORT"}
    assert shown["account"]["source"] == "default"


def test_config_shows_no_password(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hearth.yaml").write_text(
        "redis_url: redis://me:s3cret@h:1/0\nconnections: {b: 'redis://:s3cret@h:2', c: 'redis://h:3', "
        "d: 'redis+sentinel://a/m?sentinel_password=s3cret&sentinel_username=u'}\n"
        "s3_secret_access_key: s3cret\n"
    )
    for arguments in (("config",), ("config", "--json")):
        result = run(*arguments)
        assert "s3cret" not in result.output
        assert "redis://me:****@h:1/0" in result.stdout


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HEARTH_PORT", "many", "port: Input should be a valid integer"),
        ("HEARTH_INSTANCE", "Not Mine", "instance: String should match"),
        ("HEARTH_CONFIG", "/nowhere/hearth.yaml", "does not exist"),
    ],
)
def test_a_wrong_setting_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    result = run("config")
    assert result.exit_code == 1
    assert words in result.stderr


@pytest.mark.parametrize("arguments", [("ls",), ("invoke", "f"), ("logs", "f"), ("rm", "f")])
def test_a_command_that_needs_hearth_says_that_it_is_not_running(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == "hearth: Hearth is not running at http://127.0.0.1:1: start it with `hearth up`\n"


@pytest.mark.parametrize("arguments", [("nonsense",), ("invoke",), ("logs", "f", "-n", "-1"), ("rm",)])
def test_wrong_usage_is_exit_code_two(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_environment_variable_needs_a_name_and_a_value(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "app.py").write_text("def handler(e, c): ...")
    assert run("deploy", "f", "--env", "LONELY").exit_code == 2


@pytest.mark.usefixtures("daemon")
def test_invoke_prints_the_answer_and_nothing_else(run: Run) -> None:
    result = run("invoke", "f", '{"a": 1}')
    assert (result.exit_code, result.stdout, result.stderr) == (0, '{"a": 1}\n', "")


@pytest.mark.usefixtures("daemon")
def test_invoke_reads_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text("[1]")
    assert run("invoke", "f", "@event.json").stdout == "[1]\n"
    assert "cannot read missing.json" in run("invoke", "f", "@missing.json").stderr


@pytest.mark.usefixtures("daemon")
def test_a_function_that_fails_is_exit_code_one_with_its_error(run: Run) -> None:
    result = run("invoke", "f", '"fail"')
    assert (result.exit_code, result.stdout) == (1, '"fail"\n')


@pytest.mark.usefixtures("daemon")
def test_invoke_as_json_tells_all(run: Run) -> None:
    answer = json.loads(run("invoke", "f", '{"a": 1}', "--json").stdout)
    assert (answer["status"], answer["payload"], answer["server_timing"]) == (200, {"a": 1}, "handler;dur=2")


@pytest.mark.usefixtures("daemon")
def test_logs_are_joined_into_lines(run: Run) -> None:
    assert run("logs", "f").stdout == "START\none\ntwo\nEND\n"
    assert run("logs", "f", "-n", "2").stdout == "two\nEND\n"
    assert run("logs", "f", "-n", "0").stdout == ""


@pytest.mark.usefixtures("daemon")
def test_logs_for_scripts_are_entries(run: Run) -> None:
    last = run("logs", "f", "--json", "-n", "1").stdout
    assert json.loads(last) == {"at_ms": 3, "stream": "s", "text": "\nEND\n"}


@pytest.mark.usefixtures("daemon")
def test_logs_of_an_unknown_function_say_so(run: Run) -> None:
    result = run("logs", "g")
    assert (result.exit_code, result.stderr) == (1, "hearth: no f\n")
