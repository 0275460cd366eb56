"""Commands about the images that functions and Redis run in."""

from typing import Annotated

import typer
from rich.table import Table

from hearth_cli import configuration, images
from hearth_cli.commands_house import AsJson
from hearth_cli.console import Failure, out, print_json, progress, say

app = typer.Typer(help="The images that functions run in.", no_args_is_help=True)

_LINE_LIMIT = 100


@app.command()
def build(
    names: Annotated[list[str] | None, typer.Argument(help="Only these, and what they stand on.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Anew, with today's packages.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build the images that are missing or out of date."""
    settings = configuration.load()
    try:
        client = images.connect()
        with progress("looking at the images") as tell:

            def report(image: str, step: str, _line: str) -> None:
                tell(f"{image}: {step}"[:_LINE_LIMIT])

            built = images.build(client, prefix=settings.image_prefix, only=names or None, force=force, report=report)
        client.close()
    except images.ImagesError as error:
        raise Failure(str(error)) from error
    if as_json:
        print_json({"built": built})
    elif built:
        say(f"built {', '.join(built)}")
    else:
        say("all images are up to date")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the images and whether each is up to date."""
    settings = configuration.load()
    try:
        client = images.connect()
        stale = images.outdated(client, settings.image_prefix)
        client.close()
    except images.ImagesError as error:
        raise Failure(str(error)) from error
    names = [recipe.name for recipe in images.RECIPES]
    if as_json:
        print_json(
            [
                {"name": name, "tag": images.reference(name, settings.image_prefix), "current": name not in stale}
                for name in names
            ]
        )
        return
    table = Table("image", "state", box=None, padding=(0, 2, 0, 0))
    for name in names:
        state = "[yellow]missing or out of date[/]" if name in stale else "[green]up to date[/]"
        table.add_row(images.reference(name, settings.image_prefix), state)
    out.print(table)
