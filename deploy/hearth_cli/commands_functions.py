"""Commands about functions: deploy, invoke, logs, ls, rm."""

import base64
import json
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from hearth_cli import configuration, deployment, endpoint, folder
from hearth_cli.commands_house import AsJson
from hearth_cli.console import Failure, err, out, print_json, progress, say
from hearth_cli.endpoint import LogEntry

_TAIL_BYTES = 1 << 20
_OVERLAP_BYTES = 1 << 16


def deploy(  # noqa: PLR0913, PLR0917 - each option of the command is a parameter
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder with the handler.")],
    name: Annotated[str | None, typer.Option(help="The function's name; the folder's unless given.")] = None,
    runtime: Annotated[str | None, typer.Option(help="Such as nodejs22.x; guessed from the files.")] = None,
    handler: Annotated[str | None, typer.Option(help="module.function; guessed from the files.")] = None,
    memory: Annotated[int | None, typer.Option(help="Memory in MiB.")] = None,
    timeout: Annotated[int | None, typer.Option(help="Time limit of one invocation in seconds.")] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="An environment variable.")] = None,
    url: Annotated[bool, typer.Option("--url", help="Give it a function URL.")] = False,
    queue: Annotated[list[str] | None, typer.Option(metavar="LIST", help="Feed it from this Redis list.")] = None,
    as_json: AsJson = False,
) -> None:
    """Deploy a folder as a function: create it, or update what has changed."""
    settings = configuration.load()
    wish = deployment.Wish(
        name=name or folder.function_name(path),
        package=folder.pack(path),
        guess=lambda: folder.guess(path),
        runtime=runtime,
        handler=handler,
        memory_mib=memory,
        timeout_s=timeout,
        environment=_pairs(env) if env else None,
        has_url=url,
        queues=tuple(queue or ()),
    )
    with endpoint.answers(settings), progress(f"deploying {wish.name}") as tell:
        deployed = deployment.Deployer(endpoint.lambda_client(settings), settings, tell).deploy(wish)
    if as_json:
        print_json(asdict(deployed))
        return
    say(f"{deployed.name} {deployed.what_happened}")
    _print_ways_in(deployed, endpoint.url(settings))


def _print_ways_in(deployed: deployment.Deployed, base: str) -> None:
    err.print(f"  hearth invoke {deployed.name} '{{}}'", markup=False)
    if deployed.url:
        err.print(f"  curl {base}/fn/{deployed.name}/    (also {deployed.url})", markup=False)
    for queue in deployed.queues:
        err.print(f'  redis-cli -u "$HEARTH_REDIS_URL" RPUSH {queue} hello', markup=False)


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{text} is not NAME=VALUE", param_hint="--env")
        pairs[name] = value
    return pairs


def invoke(
    name: Annotated[str, typer.Argument(help="The function.")],
    payload: Annotated[str, typer.Argument(help="JSON; @FILE reads a file, - standard input.")] = "{}",
    tail: Annotated[bool, typer.Option("--tail", help="Show the log and where the time went.")] = False,
    as_json: AsJson = False,
) -> None:
    """Invoke a function and print its answer. Exit code 1: the function failed."""
    settings = configuration.load()
    event = _payload(payload)
    with endpoint.answers(settings):
        client = endpoint.lambda_client(settings, invokes=True)
        answer = client.invoke(FunctionName=name, Payload=event, LogType="Tail" if tail else "None")
        body = answer["Payload"].read()
    _print_answer(answer, body, as_json=as_json)
    if "FunctionError" in answer:
        raise typer.Exit(1)


def _payload(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if not text.startswith("@"):
        return text.encode()
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {text[1:]}: {error.strerror}") from error


def _print_answer(answer: Any, body: bytes, *, as_json: bool) -> None:
    log = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    if as_json:
        print_json(
            {
                "status": answer["StatusCode"],
                "error": answer.get("FunctionError"),
                "payload": _json_or_text(body),
                "log": log or None,
                "request_id": headers.get("x-amzn-requestid"),
                "server_timing": headers.get("server-timing"),
            }
        )
        return
    if log:
        # Not by rich, which would turn the REPORT line's tabs into blanks.
        sys.stderr.write(f"{log.rstrip()}\ntime: {headers.get('server-timing', 'not reported')}\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(body.rstrip(b"\n") + b"\n")
    sys.stdout.flush()


def _json_or_text(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def logs(
    name: Annotated[str, typer.Argument(help="The function.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more comes.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the newest lines.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Print a function's output, with its START, END and REPORT lines."""
    settings = configuration.load()
    recent = list(endpoint.log_entries(settings, name, max_bytes=_TAIL_BYTES, follow=False))
    joined = WholeLines()
    if as_json:
        _print_entries(recent[-lines:] if lines else ())
    else:
        text = "".join(joined.take(entry) for entry in recent)
        newest = deque((text if follow else text + joined.rest()).splitlines(keepends=True), maxlen=lines)
        _write("".join(newest))
    if not follow:
        return
    # The overlap of the two requests is asked for twice and shown once: nothing falls between them.
    entries = endpoint.log_entries(settings, name, max_bytes=_OVERLAP_BYTES, follow=True)
    try:
        for entry in unseen(entries, recent):
            if as_json:
                _print_entries((entry,))
            else:
                _write(joined.take(entry))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


class WholeLines:
    """Puts the pieces of each environment's output together, so that lines of several at once do not mix."""

    def __init__(self) -> None:
        self._begun: dict[str, str] = {}

    def take(self, entry: LogEntry) -> str:
        """The lines that are complete with this piece."""
        whole, newline, begun = (self._begun.pop(entry.stream, "") + entry.text).rpartition("\n")
        if begun:
            self._begun[entry.stream] = begun
        return whole + newline

    def rest(self) -> str:
        """What has begun and not ended."""
        return "".join(text + "\n" for text in self._begun.values())


def unseen(entries: Iterable[LogEntry], seen: list[LogEntry]) -> Iterator[LogEntry]:
    """The entries that come after those seen. Equal ones within a millisecond are told apart by counting."""
    last_ms = seen[-1].at_ms if seen else -1
    known = Counter(entry for entry in seen if entry.at_ms >= last_ms)
    for entry in entries:
        if entry.at_ms < last_ms:
            continue
        if known[entry]:
            known[entry] -= 1
            continue
        yield entry


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _print_entries(entries: Iterable[LogEntry]) -> None:
    for entry in entries:
        _write(json.dumps(asdict(entry)) + "\n")


def ls(as_json: AsJson = False) -> None:
    """List the functions."""
    settings = configuration.load()
    with endpoint.answers(settings):
        pages = endpoint.lambda_client(settings).get_paginator("list_functions").paginate()
        functions = [function for page in pages for function in page["Functions"]]
    if as_json:
        print_json(functions)
        return
    table = Table("function", "runtime", "handler", "memory", "timeout", "code", "modified", box=None)
    for each in functions:
        table.add_row(
            *(each["FunctionName"], each.get("Runtime", "-"), each.get("Handler", "-")),
            *(f"{each['MemorySize']} MiB", f"{each['Timeout']} s", f"{each['CodeSize']:,} B", each["LastModified"]),
        )
    out.print(table)


def rm(names: Annotated[list[str], typer.Argument(help="The functions to delete.")]) -> None:
    """Delete functions, with their URLs and the mappings that feed them."""
    settings = configuration.load()
    client = endpoint.lambda_client(settings)
    for name in names:
        with endpoint.answers(settings):
            deployment.remove(client, name)
        say(f"{name} deleted")
