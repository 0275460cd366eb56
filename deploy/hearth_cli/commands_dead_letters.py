"""Commands about dead letters: what was given up, why, and the way back."""

import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer
from rich.table import Table

from hearth.config import Settings
from hearth_cli import configuration, endpoint
from hearth_cli.commands_house import AsJson
from hearth_cli.console import Failure, err, out, print_json, say

PATH = "/_hearth/dead-letters"
REDRIVES = "/_hearth/redrives"
PAGE = 100
_POLL_S = 0.5
_ACTIVE = ("running", "cancelling")

Box = Annotated[str, typer.Argument(metavar="BOX", help="As `hearth dead-letters boxes` names it: function/hello.")]
Ids = Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="Only this one; may be given several times.")]

app = typer.Typer(help="Dead letters: list, show, send again, throw away.", no_args_is_help=True)


@app.command()
def boxes(as_json: AsJson = False) -> None:
    """Show where dead letters lie, and how many."""
    found = endpoint.asked(configuration.load(), "GET", PATH)["boxes"]
    if as_json:
        print_json(found)
        return
    table = Table("Box", "Letters", box=None)
    for one in found:
        table.add_row(one["box"], str(one["count"]) if one["count"] is not None else f"? ({one['error']})")
    out.print(table)


@app.command("list")
def list_letters(
    box: Box,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = PAGE,
    as_json: AsJson = False,
) -> None:
    """Show the letters of a box, the oldest first, without their payloads."""
    settings = configuration.load()
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None and len(found) < limit:
        page = endpoint.asked(settings, "GET", f"{_path(box)}?{urlencode({'after': after, 'limit': PAGE})}")
        found += page["letters"]
        after = page["next"]
    if as_json:
        print_json(found[:limit])
        return
    table = Table("Id", "Reason", "Error", "Attempts", "First", "Last", "Bytes", box=None)
    for one in found[:limit]:
        error = str(one["error"].get("errorMessage", ""))[:60]
        times = (_moment(one["first_ms"]), _moment(one["last_ms"]))
        table.add_row(one["id"], one["reason"], error, str(one["attempts"]), *times, str(one["bytes"]))
    out.print(table)


@app.command()
def show(box: Box, identity: Annotated[str, typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    """Show one letter: payload, error, attempts, times, where it came from."""
    found = endpoint.asked(configuration.load(), "GET", f"{_path(box)}/{quote(identity, safe='')}")
    if as_json:
        print_json(found)
        return
    payload = found.pop("payload")
    for name, value in found.items():
        shown = _moment(value) if name.endswith("_ms") else value
        text = json.dumps(shown) if isinstance(shown, dict) else str(shown)
        err.print(f"{name.removesuffix('_ms').replace('_', ' ')}: {text}", markup=False)
    out.print(payload, markup=False)


@app.command()
def redrive(  # noqa: PLR0917 - each option of the command is a parameter
    box: Box,
    ids: Ids = None,
    rate: Annotated[
        int | None, typer.Option(min=1, help="Letters per second; as fast as possible if not given.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Until it is over.")] = True,
    as_json: AsJson = False,
) -> None:
    """Send letters again, to where they came from: all that lie there now, or the named ones."""
    settings = configuration.load()
    wanted = {"ids": ids or None, "per_second": rate}
    begun = endpoint.asked(settings, "POST", _path(box), wanted)
    told = _awaited(settings, begun) if wait else begun
    if as_json:
        print_json(told)
    else:
        stay = f", {told['passed']} stay" if told["passed"] else ""
        say(f"{told['moved']} of {told['total']} sent again{stay} ({told['state']}, redrive {told['id']})")


@app.command()
def redrives(as_json: AsJson = False) -> None:
    """Show redrives, the newest first."""
    found = endpoint.asked(configuration.load(), "GET", REDRIVES)["redrives"]
    if as_json:
        print_json(found)
        return
    table = Table("Id", "Box", "State", "Sent", "Stay", "Of", "Started", box=None)
    for one in found:
        counts = (str(one["moved"]), str(one["passed"]), str(one["total"]))
        table.add_row(one["id"], one["box"], one["state"], *counts, _moment(one["started_ms"]))
    out.print(table)


@app.command()
def cancel(
    identity: Annotated[str, typer.Argument(metavar="REDRIVE", help="As `redrive` and `redrives` show.")],
) -> None:
    """Stop a redrive. What was sent again is sent."""
    told = endpoint.asked(configuration.load(), "DELETE", f"{REDRIVES}/{quote(identity, safe='')}")
    say(f"{identity} stops after {told['moved']} of {told['total']}")


@app.command()
def purge(
    box: Box,
    ids: Ids = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Throw letters away: all of a box, or the named ones."""
    if not (yes or ids) and not typer.confirm(f"Throw away everything in {box}?"):
        raise Failure("nothing was thrown away")
    query = f"?{urlencode([('id', one) for one in ids])}" if ids else ""
    told = endpoint.asked(configuration.load(), "DELETE", f"{_path(box)}{query}")
    say(f"{told['purged']} thrown away")


def _awaited(settings: Settings, begun: dict[str, Any]) -> dict[str, Any]:
    """The redrive once it is over."""
    told = begun
    while told["state"] in _ACTIVE:
        time.sleep(_POLL_S)
        told = endpoint.asked(settings, "GET", f"{REDRIVES}/{begun['id']}")
    return told


def _path(box: str) -> str:
    return f"{PATH}/{quote(box, safe='')}"


def _moment(at_ms: int | None) -> str:
    return "" if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
