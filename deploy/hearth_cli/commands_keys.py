"""Commands about access keys: who may use this Hearth, and for what.

The key that `hearth env` prints is the administrator's. Keys made here may do what their policies allow, and nothing
else; each is a user of its own.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.table import Table

from hearth.config import Settings
from hearth_cli import configuration, endpoint
from hearth_cli.commands_house import AsJson
from hearth_cli.console import Failure, err, out, print_json, say

PATH = "/_hearth/keys"

app = typer.Typer(help="Access keys: who may use this Hearth, and for what.", no_args_is_help=True)


@app.command()
def create(  # noqa: PLR0917 - each option of the command is a parameter
    name: Annotated[str, typer.Option(help="The user that the key is for.")] = "user",
    policy: Annotated[
        list[str] | None, typer.Option(metavar="FILE|JSON", help="An IAM policy; may be given several times.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="ACTION", help="such as lambda:InvokeFunction or 'lambda:Get*'.")
    ] = None,
    on: Annotated[
        list[str] | None, typer.Option(metavar="FUNCTION", help="What --allow is for: names, 'orders-*', or ARNs.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. Its secret is shown now and never again. Without a policy it may do nothing."""
    settings = configuration.load()
    policies = [_policy_text(given) for given in policy or ()]
    if allow:
        policies.append(json.dumps(allowing(allow, on or ["*"], settings)))
    elif on:
        raise Failure("--on says what --allow is for: give both")
    key = endpoint.asked(settings, "POST", PATH, {"user": name, "policies": policies})
    if as_json:
        print_json(key)
        return
    out.print(f"AWS_ACCESS_KEY_ID={key['access_key_id']}", markup=False)
    out.print(f"AWS_SECRET_ACCESS_KEY={key['secret_access_key']}", markup=False)
    if not policies:
        err.print("This key may do nothing yet: it has no policy.", markup=False)


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Show all keys, without their secrets."""
    keys = endpoint.asked(configuration.load(), "GET", PATH)
    if as_json:
        print_json(keys)
        return
    table = Table("Key", "User", "Created", "May", box=None)
    for key in keys:
        made = f"{datetime.fromtimestamp(key['created_s'], UTC):%Y-%m-%d %H:%M}"
        table.add_row(key["access_key_id"], key["user"], made, "; ".join(_summaries(key["policies"])) or "nothing")
    out.print(table)


@app.command()
def revoke(access_key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, AKIA...")]) -> None:
    """Make a key worthless, at once."""
    endpoint.asked(configuration.load(), "DELETE", f"{PATH}/{quote(access_key_id, safe='')}")
    say(f"{access_key_id} is revoked")


@app.command()
def rotate() -> None:
    """Give the administrator a new key. Whatever uses the old one stops working at once: ask `hearth env` again."""
    key = endpoint.asked(configuration.load(), "POST", f"{PATH}/administrator")
    say(f"the administrator's key is {key['access_key_id']} now; `hearth env` exports it")


def allowing(actions: list[str], functions: list[str], settings: Settings) -> dict[str, Any]:
    """A policy that allows these actions on these functions and all of their versions and aliases."""
    resources = [resource for name in functions for resource in _resources(name, settings)]
    statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _resources(name: str, settings: Settings) -> tuple[str, ...]:
    if name == "*" or name.startswith("arn:"):
        return (name,)
    arn = f"arn:aws:lambda:{settings.region}:{settings.account}:function:{name}"
    return (arn, f"{arn}:*")


def _policy_text(given: str) -> str:
    """A policy from the command line itself, or from the file it names."""
    if given.lstrip().startswith("{"):
        return given
    try:
        return Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"cannot read the policy {given}: {error}") from error


def _summaries(policies: Iterable[dict[str, Any]]) -> Iterable[str]:
    for policy in policies:
        for statement in _listed(policy.get("Statement", [])):
            words = [f"{name} {', '.join(_listed(statement[name]))}" for name in statement if name.endswith("Action")]
            places = [", ".join(_listed(statement[name])) for name in statement if name.endswith("Resource")]
            yield f"{statement['Effect']} {' '.join(words)} on {' '.join(places)}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
