"""Commands about schedules. They are made with AWS's own tools (`aws scheduler create-schedule`)."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from hearth_cli import configuration, endpoint
from hearth_cli.commands_house import AsJson
from hearth_cli.console import out, print_json

PATH = "/_hearth/schedules"

app = typer.Typer(help="Schedules: what fires when.", no_args_is_help=True)


@app.command("list")
def list_schedules(
    group: Annotated[str | None, typer.Option(help="Only the schedules of this group.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show all schedules, when each fires next and when it last did. Times are UTC."""
    found = endpoint.asked(configuration.load(), "GET", PATH)
    schedules = [one for one in found if group in (None, one["group"])]
    if as_json:
        print_json(schedules)
        return
    table = Table("Schedule", "Expression", "Zone", "Next", "Last", "Target", box=None)
    for one in schedules:
        name = one["name"] if one["group"] == "default" else f"{one['group']}/{one['name']}"
        upcoming = moment(one["next_ms"]) if one["state"] == "ENABLED" else "disabled"
        table.add_row(name, one["expression"], one["zone"], upcoming, moment(one["last_ms"]), one["target"])
    out.print(table)


def moment(time_ms: Any) -> str:
    """A time for people; a dash where there is none."""
    return "-" if time_ms is None else f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
