"""Commands about the images that functions and Redis run in."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import docker
import typer
from rich.table import Table

from hearth.config import Settings
from hearth.core import runtimes
from hearth_cli import configuration, images, recipes
from hearth_cli.commands_house import AsJson
from hearth_cli.console import Failure, out, print_json, progress, say

app = typer.Typer(help="The images that functions run in, and which runtime identifier runs on which.")

_LINE_LIMIT = 100
_COLOURS = {"exact": "green", "own": "green", "nearest": "yellow", "none": "red"}


@contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    """A Docker client; whatever is wrong with the images inside is a failure in words."""
    try:
        client = images.connect()
        try:
            yield client
        finally:
            client.close()
    except recipes.ImagesError as error:
        raise Failure(str(error)) from error


@app.callback(invoke_without_command=True)
def runtimes_(context: typer.Context, as_json: AsJson = False) -> None:
    """List Lambda's runtime identifiers and what each runs on here."""
    if context.invoked_subcommand is not None:
        return
    settings = configuration.load()
    with _engine() as client:
        rows = _runtime_rows(images.catalogue(client, settings), settings)
    if as_json:
        print_json(rows)
        return
    table = Table("runtime", "runs on", "match", "image", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        colour = _COLOURS[row["match"]]
        table.add_row(
            row["runtime"], row["interpreter"] or "-", f"[{colour}]{row['match']}[/]", row["image"] or row["hint"]
        )
    out.print(table)


def _runtime_rows(catalogue: runtimes.Catalogue, settings: Settings) -> list[dict[str, Any]]:
    rows = []
    for identifier in runtimes.RUNTIMES:
        choice = catalogue.find(identifier)
        missing = catalogue.worth_building(identifier)
        is_exact = choice is not None and choice.nearness is not runtimes.Nearness.NEAREST
        rows.append(
            {
                "runtime": identifier,
                "interpreter": None if choice is None else choice.interpreter,
                "match": "none" if choice is None else choice.nearness.value,
                "image": None if choice is None else choice.image.reference,
                "refused": choice is None or not (is_exact or settings.runtime_substitution == "nearest"),
                "hint": "" if is_exact or missing is None else f"hearth images build {missing}",
            }
        )
    return rows


@app.command()
def build(
    names: Annotated[list[str] | None, typer.Argument(help="These, and what they stand on.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are, also what has to be pulled.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Anew, with today's packages.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build the images that are missing or out of date: the default ones, and those once asked for by name."""
    prefix = configuration.load().image_prefix
    built: list[str] = []
    failures: list[str] = []
    with _engine() as client, progress("looking at the images") as tell:

        def report(image: str, step: str, _line: str) -> None:
            tell(f"{image}: {step}"[:_LINE_LIMIT])

        for only in [[name] for name in recipes.INTERPRETERS] if everything else [names or None]:
            try:
                built += images.build(client, prefix=prefix, only=only, force=force, report=report)
            except recipes.ImagesError as error:
                if not everything:
                    raise
                failures.append(str(error))  # what only a registry has must not keep the others from being built
    if as_json:
        print_json({"built": built, "failed": failures})
    else:
        say(f"built {', '.join(built)}" if built else "all images are up to date")
    if built and not as_json:
        say("a Hearth that is running takes up new runtimes when it is started again")
    if failures:
        raise Failure("; ".join(failures))


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the images and whether each is up to date."""
    settings = configuration.load()
    with _engine() as client:
        names = images.wanted(client, settings.image_prefix)
        stale = images.outdated(client, settings.image_prefix)
    if as_json:
        print_json(
            [
                {"name": name, "tag": recipes.reference(name, settings.image_prefix), "current": name not in stale}
                for name in names
            ]
        )
        return
    table = Table("image", "state", box=None, padding=(0, 2, 0, 0))
    for name in names:
        state = "[yellow]missing or out of date[/]" if name in stale else "[green]up to date[/]"
        table.add_row(recipes.reference(name, settings.image_prefix), state)
    for name in recipes.BY_NAME:
        if name not in names:
            table.add_row(recipes.reference(name, settings.image_prefix), f"hearth images build {name}", style="dim")
    out.print(table)
