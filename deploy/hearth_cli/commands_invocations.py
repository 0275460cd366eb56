"""Commands about asynchronous invocations: which there are, what became of them, how to stop those that wait."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer
from rich.table import Table

from hearth.config import Settings
from hearth_cli import configuration, endpoint
from hearth_cli.commands_house import AsJson
from hearth_cli.console import out, print_json, say

PATH = "/_hearth/invocations"
PAGE = 100

Id = Annotated[str, typer.Argument(metavar="ID", help="The request id that Invoke answered with.")]

app = typer.Typer(help="Asynchronous invocations: list, show, cancel.", no_args_is_help=True)


@app.command("list")
def list_invocations(
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="Whose invocations.")],
    state: Annotated[
        str, typer.Option(help="queued, running, retrying, succeeded, failed or cancelled; nothing: all.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = PAGE,
    as_json: AsJson = False,
) -> None:
    """Show what goes on, then what ended within the last day, the newest first."""
    found = _found(configuration.load(), function, state, limit)
    if as_json:
        print_json(found)
        return
    table = Table("Id", "State", "Attempts", "Accepted", "Next", "Ended", "Error", box=None)
    for one in found:
        times = [_moment(one[name]) for name in ("accepted_ms", "next_ms", "ended_ms")]
        error = one["error"].get("errorType", "") or (one["condition"] if one["state"] == "failed" else "")
        table.add_row(one["id"], one["state"], str(one["attempts"]), *times, error)
    out.print(table)


@app.command()
def show(identity: Id, as_json: AsJson = False) -> None:
    """Show one: its state, attempts, times, last error, and where its records went."""
    found = endpoint.asked(configuration.load(), "GET", f"{PATH}/{quote(identity, safe='')}")
    if as_json:
        print_json(found)
        return
    table = Table("", "", box=None, show_header=False)
    for name, value in found.items():
        shown = _moment(value) if name.endswith("_ms") else value
        text = json.dumps(shown) if isinstance(shown, dict | list) else str(shown)
        if value not in (None, "", {}, []):
            table.add_row(name.removesuffix("_ms").replace("_", " "), text)
    out.print(table)


@app.command()
def cancel(identity: Id) -> None:
    """Stop one that waits, for its first attempt or the next one. One that runs goes on."""
    endpoint.asked(configuration.load(), "DELETE", f"{PATH}/{quote(identity, safe='')}")
    say(f"{identity} is cancelled")


def _found(settings: Settings, function: str, state: str, limit: int) -> list[dict[str, Any]]:
    """Page after page, until there are enough."""
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None and len(found) < limit:
        given = {"function": function, "after": after, "limit": PAGE, **({"state": state} if state else {})}
        page = endpoint.asked(settings, "GET", f"{PATH}?{urlencode(given)}")
        found += page["invocations"]
        after = page["next"]
    return found[:limit]


def _moment(at_ms: int | None) -> str:
    return "" if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
