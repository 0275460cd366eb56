"""Commands about hooks: public addresses where GitHub, Stripe, MinIO and others tell what happened.

A secret is shown when it is made, and never again; one of your own is read from standard input with `--secret -`.
"""

import sys
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.table import Table

from hearth.config import Settings
from hearth_cli import configuration, endpoint
from hearth_cli.commands_house import AsJson
from hearth_cli.console import err, out, print_json, say
from hearth_gateway.core.hook_signatures import Style

PATH = "/_hearth/hooks"
YOURS = "(the secret that you gave)"


class Algorithm(Enum):
    SHA256 = "sha256"
    SHA1 = "sha1"
    SHA512 = "sha512"


class Encoding(Enum):
    HEX = "hex"
    BASE64 = "base64"


Name = Annotated[str, typer.Argument(metavar="NAME", help="The last part of its address: /hooks/NAME.")]
Secret = Annotated[
    str | None, typer.Option(metavar="SECRET|-", help="One of your own; - reads it. Otherwise one is made.")
]

app = typer.Typer(help="Hooks: public addresses that turn what others tell into invocations.", no_args_is_help=True)


@app.command()
def create(  # noqa: PLR0913, PLR0917 - each option of the command is a parameter
    name: Name,
    style: Annotated[Style, typer.Option(help="Who sends: how its requests are signed.")],
    target: Annotated[str, typer.Option(metavar="FUNCTION|ARN", help="A function, queue, list, stream or topic.")],
    secret: Secret = None,
    header: Annotated[str | None, typer.Option(help="generic: the header with the signature [X-Signature].")] = None,
    algorithm: Annotated[Algorithm | None, typer.Option(help="generic: the hash [sha256].")] = None,
    encoding: Annotated[Encoding | None, typer.Option(help="generic: how the signature is written [hex].")] = None,
    prefix: Annotated[str | None, typer.Option(help="generic: what is before the signature, as sha256=.")] = None,
    timestamp_header: Annotated[
        str | None, typer.Option(help="generic: the header with the time, if <time>.<body> is signed.")
    ] = None,
    delivery_header: Annotated[str | None, typer.Option(help="The header with the sender's id of a delivery.")] = None,
    bucket: Annotated[list[str] | None, typer.Option(help="s3, minio: only this bucket; may be repeated.")] = None,
    key_prefix: Annotated[str | None, typer.Option(help="s3, minio: only keys that begin so.")] = None,
    key_suffix: Annotated[str | None, typer.Option(help="s3, minio: only keys that end so.")] = None,
    event: Annotated[
        list[str] | None, typer.Option(help="s3, minio: only this event, as s3:ObjectCreated:*; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a hook, and print what to paste where its sender is configured."""
    settings = configuration.load()
    wanted = {
        "name": name,
        "style": style.value,
        "target": _arn(settings, target),
        "secret": _read(secret),
        "header": header,
        "algorithm": algorithm and algorithm.value,
        "encoding": encoding and encoding.value,
        "prefix": prefix,
        "timestamp_header": timestamp_header,
        "delivery_header": delivery_header,
        "buckets": bucket,
        "key_prefix": key_prefix,
        "key_suffix": key_suffix,
        "events": event,
    }
    made = endpoint.asked(settings, "POST", PATH, {key: value for key, value in wanted.items() if value is not None})
    if as_json:
        print_json(made)
        return
    say(f"{name} takes deliveries at {made['url']}")
    for line in instructions(made):
        out.print(line, markup=False, soft_wrap=True)
    if style is Style.NONE:
        err.print("Whoever knows the address can invoke the target: nothing is proved.", markup=False)


@app.command("list")
def list_hooks(as_json: AsJson = False) -> None:
    """Show all hooks, without their secrets."""
    hooks = endpoint.asked(configuration.load(), "GET", PATH)
    if as_json:
        print_json(hooks)
        return
    table = Table("Name", "Style", "Target", "URL", box=None)
    for hook in hooks:
        table.add_row(hook["name"], hook["style"], hook["target"], hook["url"])
    out.print(table)


@app.command()
def show(name: Name) -> None:
    """Show a hook, without its secret."""
    print_json(endpoint.asked(configuration.load(), "GET", _path(name)))


@app.command()
def delete(name: Name) -> None:
    """Forget a hook. Its senders are told 404 from now on."""
    endpoint.asked(configuration.load(), "DELETE", _path(name))
    say(f"{name} is deleted")


@app.command()
def rotate(
    name: Name,
    secret: Secret = None,
    keep_s: Annotated[int, typer.Option(help="Seconds for which the secret before stays good.")] = 86_400,
    as_json: AsJson = False,
) -> None:
    """Give a hook a new secret. The one before stays good for a day, so that its sender can be changed in peace."""
    wanted = {"secret": _read(secret), "keep_s": keep_s}
    body = {key: value for key, value in wanted.items() if value is not None}
    made = endpoint.asked(configuration.load(), "POST", f"{_path(name)}/rotate", body)
    if as_json:
        print_json(made)
        return
    say(f"{name} has a new secret; the one before stays good for {keep_s} s")
    for line in instructions(made):
        out.print(line, markup=False, soft_wrap=True)


def instructions(hook: dict[str, Any]) -> Iterator[str]:
    """What to enter where the sender is configured."""
    url, secret, name = hook["url"], hook.get("secret", YOURS), hook["name"]
    match Style(hook["style"]):
        case Style.GITHUB:
            yield "In GitHub: Settings > Webhooks > Add webhook"
            yield from _pairs(("Payload URL", url), ("Content type", "application/json"), ("Secret", secret))
        case Style.STRIPE:
            yield "In Stripe: Developers > Webhooks > Add destination. Stripe makes the secret: give it to the hook by"
            yield f"  hearth hooks rotate {name} --secret - --keep-s 0"
            yield from _pairs(("Endpoint URL", url))
        case Style.SLACK:
            yield "In Slack: Event Subscriptions. Slack makes the signing secret (Basic Information): give it by"
            yield f"  hearth hooks rotate {name} --secret - --keep-s 0"
            yield from _pairs(("Request URL", url))
        case Style.MINIO:
            yield from _minio(hook, name.replace("-", "_"))
            yield from _permission(hook)
        case Style.S3:
            yield from _pairs(("Endpoint", url), ("Authorization", f"Bearer {secret}"))
            yield from _permission(hook)
        case Style.STANDARD | Style.GENERIC:
            yield from _pairs(("URL", url), ("Secret", secret))
        case Style.NONE:
            yield from _pairs(("URL", url))


def _minio(hook: dict[str, Any], identifier: str) -> Iterator[str]:
    """The queue directory is what keeps an event while Hearth is away: without one MinIO drops it."""
    wanted = hook["wanted"]
    configured = f'endpoint="{hook["url"]}" auth_token="{hook.get("secret", YOURS)}" queue_dir="/data/.hearth-events"'
    yield f"mc admin config set ALIAS notify_webhook:{identifier} {configured}"
    yield "mc admin service restart ALIAS"
    filters = "".join(f' --{word} "{wanted[word]}"' for word in ("prefix", "suffix") if wanted[word])
    names = ",".join(dict.fromkeys(_event_word(one) for one in wanted["events"])) or "put,delete"
    for bucket in wanted["buckets"] or ("BUCKET",):
        yield f"mc event add ALIAS/{bucket} arn:minio:sqs::{identifier}:webhook --event {names}{filters}"


def _permission(hook: dict[str, Any]) -> Iterator[str]:
    """Buckets invoke functions by permission, as on AWS."""
    if ":function:" not in hook["target"]:
        return
    yield "Once, unless service_policy is open:"
    for bucket in hook["wanted"]["buckets"] or ("BUCKET",):
        who = f"--principal s3.amazonaws.com --source-arn arn:aws:s3:::{bucket}"
        yield (
            f"aws lambda add-permission --function-name {hook['target']} --statement-id {hook['name']}-{bucket} "
            f"--action lambda:InvokeFunction {who}"
        )


def _event_word(event: str) -> str:
    """mc's word for a kind of event."""
    kind = event.removeprefix("s3:").partition(":")[0]
    return {"ObjectCreated": "put", "ObjectRemoved": "delete", "ObjectAccessed": "get"}.get(kind, event)


def _pairs(*pairs: tuple[str, str]) -> Iterator[str]:
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        yield f"  {name:{width}}  {value}"


def _arn(settings: Settings, target: str) -> str:
    if target.startswith("arn:"):
        return target
    return f"arn:aws:lambda:{settings.region}:{settings.account}:function:{target}"


def _read(secret: str | None) -> str | None:
    if secret != "-":
        return secret
    return typer.prompt("Secret", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().strip()


def _path(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"
