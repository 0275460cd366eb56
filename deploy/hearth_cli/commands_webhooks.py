"""Commands about webhooks that Hearth calls: destinations and subscriptions by name.

A URL and a secret are read from standard input when they are `-`, so that no shell's history has them.
"""

import sys
from typing import Annotated
from urllib.parse import quote

import typer
from rich.table import Table

from hearth_cli import configuration, endpoint
from hearth_cli.commands_house import AsJson
from hearth_cli.console import Failure, out, print_json, say

PATH = "/_hearth/webhooks"

Name = Annotated[str, typer.Argument(metavar="NAME", help="What ARNs call it: arn:hearth:webhook:REGION:ACCOUNT:NAME.")]

app = typer.Typer(help="Webhooks that Hearth calls.", no_args_is_help=True)


@app.command()
def add(
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL|-", help="Where to POST; - reads it from standard input.")],
    secret: Annotated[
        str, typer.Option(metavar="TEXT|-", help="Signs every call (HMAC-SHA256); - reads it from standard input.")
    ] = "",
) -> None:
    """Register a webhook, or change the one of this name."""
    wanted = {"url": _given(url, "URL"), "secret": _given(secret, "secret")}
    shown = endpoint.asked(configuration.load(), "PUT", f"{PATH}/{quote(name, safe='')}", wanted)
    say(f"{shown['name']} calls {shown['url']}{', signed' if shown['is_signed'] else ''}: {shown['arn']}")


@app.command("list")
def list_webhooks(as_json: AsJson = False) -> None:
    """Show all of them, without their secrets."""
    webhooks = endpoint.asked(configuration.load(), "GET", PATH)
    if as_json:
        print_json(webhooks)
        return
    table = Table("Name", "Calls", "Signed", "ARN", box=None)
    for one in webhooks:
        table.add_row(one["name"], one["url"], "yes" if one["is_signed"] else "no", one["arn"])
    out.print(table)


@app.command()
def remove(name: Name) -> None:
    """Forget a webhook. What is on its way there becomes dead letters."""
    endpoint.asked(configuration.load(), "DELETE", f"{PATH}/{quote(name, safe='')}")
    say(f"{name} is removed")


def _given(text: str, what: str) -> str:
    if text != "-":
        return text
    read: str = typer.prompt(what, hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not read:
        raise Failure(f"there is no {what} on standard input")
    return read
