"""`hearth hello`: the main job shown on a first function, called over HTTP and through a Redis list."""

import os
import re
import sys
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import redis
import typer

from hearth.config import Settings
from hearth_cli import configuration, deployment, endpoint, folder, own_redis
from hearth_cli.commands_house import AsJson
from hearth_cli.console import Failure, Progress, out, print_json, progress, say
from hearth_cli.endpoint import LogEntry

NAME = "hello"
QUEUE = "hello-queue"
_LIMIT_S = 60.0
_LOG_BYTES = 1 << 16
_TIMING = re.compile(r"([\w-]+)\s*(?:;[^,]*?)?;\s*dur=([0-9.]+)")
_OK = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """What the two calls gave."""

    url: str
    http_answer: str
    http_time_ms: dict[str, float]
    message: str
    queue_answer: str
    report: str


def hello(
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="The example, examples/hello.")] = Path(
        "examples/hello"
    ),
    as_json: AsJson = False,
) -> None:
    """Deploy the example, call it through its URL and through a Redis list, and show both answers."""
    settings = configuration.load()
    with progress("deploying the example") as tell:
        _deploy(settings, path, tell)
        tell("calling it over HTTP")
        url, answer = _call_url(settings)
        tell("calling it through a Redis list")
        message, queue_answer, report = _call_queue(settings)
    shown = Shown(
        url,
        answer.body.decode(errors="replace"),
        ledger(answer.headers.get("server-timing", "")),
        message,
        queue_answer,
        report,
    )
    if as_json:
        print_json(asdict(shown))
    else:
        _print(shown)


def _deploy(settings: Settings, path: Path, tell: Progress) -> None:
    wish = deployment.Wish(
        name=NAME, package=folder.pack(path), guess=lambda: folder.guess(path), has_url=True, queues=(QUEUE,)
    )
    with endpoint.answers(settings):
        deployment.Deployer(endpoint.lambda_client(settings), settings, tell).deploy(wish)


def _call_url(settings: Settings) -> tuple[str, endpoint.Answer]:
    path = f"/fn/{NAME}/?name=world"
    answer = endpoint.request(settings, "GET", path, limit_s=_LIMIT_S)
    if answer.status != _OK:
        raise Failure(f"the function's URL answered {answer.status}: {answer.body.decode(errors='replace')}")
    return endpoint.url(settings) + path, answer


def _call_queue(settings: Settings) -> tuple[str, str, str]:
    """The message, the line that the handler printed about it, and the REPORT line."""
    message = f"visitor-{uuid.uuid4().hex[:8]}"
    try:
        with redis.Redis.from_url(own_redis.url(settings), socket_timeout=5, socket_connect_timeout=5) as store:
            store.rpush(QUEUE, message)
    except redis.exceptions.RedisError as error:
        raise Failure(f"cannot push into the Redis list {QUEUE}: {error}") from error
    entries = endpoint.log_entries(settings, NAME, max_bytes=_LOG_BYTES, follow=True, limit_s=_LIMIT_S)
    found = answer_in_log(entries, message)
    if found is None:
        raise Failure(f"the message {message} was pushed, but {NAME} did not log an answer")
    return message, *found


def answer_in_log(entries: Iterable[LogEntry], message: str) -> tuple[str, str] | None:
    """The line that mentions the message, and the REPORT line that follows it in the same stream."""
    rest: dict[str, str] = {}
    answers: dict[str, str] = {}
    for entry in entries:
        *lines, rest[entry.stream] = (rest.get(entry.stream, "") + entry.text).split("\n")
        for line in lines:
            if line.startswith("REPORT ") and entry.stream in answers:
                return answers[entry.stream], line.strip()
            if message in line:
                answers[entry.stream] = line.strip()
    return None


def ledger(server_timing: str) -> dict[str, float]:
    """Milliseconds by step, of a Server-Timing header (W3C Server Timing)."""
    return {name: float(duration) for name, duration in _TIMING.findall(server_timing)}


def _print(shown: Shown) -> None:
    times = ", ".join(f"{name} {duration:.2f} ms" for name, duration in shown.http_time_ms.items())
    say(f"the function {NAME} is deployed, with a URL and a queue")
    rows = (
        ("over HTTP", shown.url),
        ("  answer", shown.http_answer.strip()),
        ("  time", times or "not reported"),
        (f"through the Redis list {QUEUE}", shown.message),
        ("  answer", shown.queue_answer),
        ("  report", shown.report.replace("\t", "  ")),
    )
    for title, text in rows:
        out.print(f"{title}: {text}", markup=False)
    command = command_path()
    out.print("\nNext:")
    for line in (
        f'eval "$({command} env)"      # for the aws CLI, boto3 and redis-cli',
        f"curl '{shown.url.replace('world', 'you')}'",
        f"{command} deploy examples/hello-node --url",
    ):
        out.print(f"  {line}", markup=False)


def command_path() -> str:
    """How the user calls `hearth` from here."""
    command = Path(sys.executable).parent / "hearth"
    relative = os.path.relpath(command)
    return str(command) if relative.startswith("..") else relative
