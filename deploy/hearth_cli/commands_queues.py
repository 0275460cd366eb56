"""Commands about queues. They are made, filled and emptied with AWS's own tools (`aws sqs send-message`)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from hearth_cli import configuration, endpoint
from hearth_cli.commands_house import AsJson
from hearth_cli.console import Failure, out, print_json, say
from hearth_gateway.core.sqs_attributes import redrive_policy

_PAGE = 100
_COUNTS = {
    "visible": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}
_TIMES = frozenset({"CreatedTimestamp", "LastModifiedTimestamp"})

Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue's name, or that of a list in use.")]

app = typer.Typer(help="Queues: which there are, and how much is in them.", no_args_is_help=True)


@app.command("list")
def list_queues(
    prefix: Annotated[str, typer.Option(help="Only the queues whose names begin so.")] = "", as_json: AsJson = False
) -> None:
    """Show all queues that were created, with their messages: waiting, in somebody's hands, delayed."""
    settings = configuration.load()
    with endpoint.answers(settings):
        client = endpoint.service_client(settings, "sqs")
        queues = [_summary(client, url) for url in _urls(client, prefix)]
    if as_json:
        print_json(queues)
        return
    table = Table("Queue", "Visible", "In flight", "Delayed", "Dead letters to", box=None)
    for queue in queues:
        table.add_row(queue["name"], *(str(queue[name]) for name in _COUNTS), queue["dead_letters_to"] or "-")
    out.print(table)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show a queue's attributes, tags and counts."""
    settings = configuration.load()
    with endpoint.answers(settings):
        client = endpoint.service_client(settings, "sqs")
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
        attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        tags = client.list_queue_tags(QueueUrl=url).get("Tags", {})
    if as_json:
        print_json({"name": name, "url": url, "attributes": attributes, "tags": tags})
        return
    table = Table(box=None, show_header=False)
    table.add_row("Url", url)
    for key in sorted(attributes):
        table.add_row(key, _moment(attributes[key]) if key in _TIMES else attributes[key])
    for key in sorted(tags):
        table.add_row(f"tag {key}", tags[key])
    out.print(table)


@app.command()
def purge(
    name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False, as_json: AsJson = False
) -> None:
    """Throw away every message of a queue, those in somebody's hands too."""
    settings = configuration.load()
    with endpoint.answers(settings):
        client = endpoint.service_client(settings, "sqs")
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
        queue = _summary(client, url)
        if not yes and not typer.confirm(f"Throw away all messages of {name}, about {_total(queue)}?", err=True):
            raise Failure("nothing was thrown away")
        client.purge_queue(QueueUrl=url)
    if as_json:
        print_json(queue)
    else:
        say(f"{name} is empty; there were about {_total(queue)} messages")


def _urls(client: Any, prefix: str) -> Iterator[str]:
    """Every queue, page by page."""
    asked: dict[str, Any] = {"MaxResults": _PAGE, **({"QueueNamePrefix": prefix} if prefix else {})}
    while True:
        page = client.list_queues(**asked)
        yield from page.get("QueueUrls", ())
        if "NextToken" not in page:
            return
        asked["NextToken"] = page["NextToken"]


def _summary(client: Any, url: str) -> dict[str, Any]:
    wanted = [*_COUNTS.values(), "QueueArn", "RedrivePolicy"]
    attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
    counts = {name: int(attributes[attribute]) for name, attribute in _COUNTS.items()}
    redrive = redrive_policy(attributes)
    target = "" if redrive is None else redrive[0].rpartition(":")[2]
    return {"name": attributes["QueueArn"].rpartition(":")[2], "url": url, **counts, "dead_letters_to": target}


def _total(queue: dict[str, Any]) -> int:
    return sum(int(queue[name]) for name in _COUNTS)


def _moment(seconds: str) -> str:
    return "-" if seconds == "0" else f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d %H:%M:%S} UTC"
