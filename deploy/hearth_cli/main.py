"""The `hearth` command.

Exit codes: 0 done, 1 failed, 2 wrong usage. Data goes to standard output, words to standard error."""

from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hearth_cli import (
    commands_connections,
    commands_dead_letters,
    commands_functions,
    commands_hello,
    commands_hooks,
    commands_house,
    commands_images,
    commands_invocations,
    commands_keys,
    commands_queues,
    commands_schedules,
    commands_webhooks,
)
from hearth_cli.console import Failure, err, out


class _Commands(TyperGroup):
    """A failure of any command is one sentence and exit code 1, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Failure as failure:
            err.print(f"hearth: {failure}", style="red", markup=False)
            raise typer.Exit(1) from failure


app = typer.Typer(
    cls=_Commands,
    help="AWS Lambda for your own Docker host.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"hearth {metadata.version('hearth')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """AWS Lambda for your own Docker host."""


for _command in (
    *(commands_house.up, commands_house.down, commands_house.status, commands_house.env, commands_house.config),
    *(commands_functions.deploy, commands_functions.invoke, commands_functions.logs, commands_functions.ls),
    *(commands_functions.rm, commands_hello.hello),
):
    app.command()(_command)
app.add_typer(commands_images.app, name="images")
app.add_typer(commands_keys.app, name="keys")
app.add_typer(commands_dead_letters.app, name="dead-letters")
app.add_typer(commands_invocations.app, name="invocations")
app.add_typer(commands_webhooks.app, name="webhooks")
app.add_typer(commands_hooks.app, name="hooks")
app.add_typer(commands_schedules.app, name="schedules")
app.add_typer(commands_queues.app, name="queues")
app.add_typer(commands_connections.app, name="connections")


def main() -> None:
    """The entry point of the installed command."""
    app()
