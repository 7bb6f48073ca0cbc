"""The tree of commands. Owns names and order; each command lives in a module of its own."""

from typing import Annotated

import typer

from resonate_mq.cli import (
    doctor,
    invoke,
    promises,
    schedules,
    serve,
    tasks,
    tree,
    worker,
    workers,
)
from resonate_mq.cli.demo import command as demo

app = typer.Typer(
    name="resonate-mq",
    help="Durable functions for Python, delivered over the message broker you already run.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("resonate-mq"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Durable functions for Python, delivered over the message broker you already run."""


app.command("dev")(serve.dev)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("invoke")(invoke.invoke)
app.add_typer(promises.app, name="promises")
app.add_typer(tasks.app, name="tasks")
app.command("workers")(workers.workers)
app.add_typer(schedules.app, name="schedules")
app.command("tree")(tree.tree)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
