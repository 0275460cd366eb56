"""Commands about named connections: the Redis servers, clusters and SQS services that sources may use.

A URL may hold a password: it is read from standard input when the argument is `-`, so that no shell's history and no
list of processes has it, and nothing ever prints it again.
"""

import json
import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.table import Table

from hearth_cli import configuration, endpoint
from hearth_cli.commands_house import AsJson
from hearth_cli.console import Failure, err, out, print_json, say

PATH = "/_hearth/connections"
_CREATED = 201

Name = Annotated[str, typer.Argument(metavar="NAME", help="What ARNs call it: arn:hearth:redis:...:NAME/list/KEY.")]

app = typer.Typer(help="Named connections: servers that event sources may use.", no_args_is_help=True)


@app.command()
def add(
    name: Name,
    url: Annotated[
        str,
        typer.Argument(metavar="URL|-", help="redis://, rediss://, unix://, redis+sentinel://, redis+cluster://, ..."),
    ] = "-",
) -> None:
    """Name a server. With - (or nothing) the URL is read from standard input. A name that is there gets this URL, and
    whatever uses it connects anew."""
    if url == "-":
        url = typer.prompt("URL", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not url:
        raise Failure("there is no URL: give one, or write it to standard input")
    settings = configuration.load()
    answer = endpoint.accepted(settings, "PUT", _path(name), {"url": url})
    status, shown = answer.status, json.loads(answer.body)
    say(f"{shown['name']} is {shown['url']}{'' if status == _CREATED else ' now'}")


@app.command("list")
def list_connections(as_json: AsJson = False) -> None:
    """Show all connections, without their passwords."""
    connections = endpoint.asked(configuration.load(), "GET", PATH)
    if as_json:
        print_json(connections)
        return
    table = Table("Name", "URL", "From", "Used by", box=None)
    for one in connections:
        table.add_row(
            one["name"], one["url"], f"the {one['origin']}", str(len(one["used_by"])) if one["used_by"] else "-"
        )
    out.print(table)


@app.command()
def remove(name: Name) -> None:
    """Forget a connection. Refused while a source or destination uses it."""
    endpoint.asked(configuration.load(), "DELETE", _path(name))
    say(f"{name} is removed")


@app.command()
def test(name: Name, as_json: AsJson = False) -> None:
    """Ask the server: does it answer, what is it, and what survives when it dies?"""
    found = endpoint.asked(configuration.load(), "POST", f"{_path(name)}/test")
    if as_json:
        print_json(found)
    elif found["ok"]:
        _show(found)
    if not found["ok"]:
        raise Failure(f"{name} ({found['url']}) does not answer: {found['error']}")


def _show(found: dict[str, Any]) -> None:
    say(f"{found['name']} ({found['url']}) answers in {found['took_ms']} ms")
    if found["kind"] == "redis":
        out.print(f"Redis {found['version'] or '?'}, {found['role'] or 'role unknown'}", markup=False)
        out.print(f"survives its sudden end: {found['durability']}", markup=False, soft_wrap=True)
    for warning in found["warnings"]:
        err.print(f"note: {warning}", markup=False, soft_wrap=True)


def _path(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"
