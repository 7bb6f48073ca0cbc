"""The command `resonate-mq demo`: plays the story, then says what it has shown."""

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resonate_mq.cli.output import CliError, JsonOption, show_json, usage

if TYPE_CHECKING:
    from resonate_mq.cli.demo.check import Verdict
    from resonate_mq.cli.demo.story import Plot

NEXT = """What to try next
  resonate-mq dev                                          a server in memory, on http://127.0.0.1:8001
  resonate-mq worker worker.app:resonate                   a worker, in another terminal (from the repository)
  resonate-mq invoke hello-1 --func greet --arg Ada --wait   call one of its functions
  resonate-mq tree hello-1                                 what it did
  resonate-mq demo --transport amqp://guest:guest@127.0.0.1/  the same over RabbitMQ
  docs/ and examples/                                      how it works, and more functions"""


def demo(
    orders: Annotated[int, typer.Option(min=4, max=100, help="How many orders.")] = 20,
    transport: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Broker to deliver over, for example amqp://guest:guest@127.0.0.1/."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with store, ledger and logs.")] = False,
    json_: JsonOption = False,
) -> None:
    """Finish orders although a worker and the server are killed with SIGKILL on the way; takes well under a minute."""
    if transport is not None and not transport.startswith(("amqp://", "amqps://")):
        usage(f"--transport {transport!r}: expected for example amqp://guest:guest@127.0.0.1/")
    from resonate_mq.cli.demo import view as views
    from resonate_mq.cli.demo.story import Plot

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like ctrl-C: no process is left behind
    with _folder(keep=keep) as folder:
        started = time.monotonic()
        with views.quiet() if json_ else views.opened() as view:
            plot = Plot(folder, orders, transport, view)
            verdict, tree = asyncio.run(plot.run())
        took_s = time.monotonic() - started
        if json_:
            show_json(_report(plot, verdict, took_s), compact=True)
        else:
            _tell(plot, verdict, tree, took_s)
        if verdict.problems:
            raise CliError(f"{len(verdict.problems)} problems: what is promised did not hold")


@contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    """A folder for this run; kept when something went wrong, so that somebody can look at it."""
    folder = Path(tempfile.mkdtemp(prefix="resonate-mq-demo-"))
    try:
        yield folder
    except CliError as error:
        raise CliError(f"{error}\n  store, ledger and logs are kept in {folder}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if keep:
        typer.echo(f"kept: {folder}", err=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _report(plot: "Plot", verdict: "Verdict", took_s: float) -> dict[str, Any]:
    return {
        "ok": not verdict.problems,
        "orders": plot.count,
        "steps": verdict.steps,
        "attempts": verdict.attempts,
        "kills": [kill._asdict() for kill in plot.kills],
        "repeats": [one.key for one in verdict.repeats],
        "problems": verdict.problems,
        "workerTakenOverS": round(plot.taken_over_s(), 2),
        "serverBackS": round(plot.back_s, 2),
        "tookS": round(took_s, 2),
    }


def _tell(plot: "Plot", verdict: "Verdict", tree: dict[str, Any], took_s: float) -> None:
    from resonate_mq.cli.branches import render

    print()
    print("The ledger, which no promise can take back")
    print(f"  {verdict.steps} steps, {verdict.attempts} attempts, {len(plot.kills)} processes killed with SIGKILL")
    for one in verdict.repeats:
        print(
            f"  ran twice: {one.step}, idempotency key {one.key} (pid {one.first.pid}, then {one.second.pid}): "
            f"in flight when the {one.kill.what} was killed"
        )
    if not verdict.repeats:
        print("  no step ran twice")
    for problem in verdict.problems:
        print(f"  PROBLEM: {problem}")
    if not verdict.problems:
        print("  no step is missing, and no step ran again after its result was recorded")
    print()
    print(f"Times: {took_s:.1f} s in all")
    print(f"  what the killed worker had in flight was done by others {plot.taken_over_s():.1f} s after the kill")
    print(f"  steps were recorded again {plot.back_s:.1f} s after the server was killed")
    print()
    print(f"One of the orders (resonate-mq tree {tree['id']})")
    for line in render(tree):
        print(f"  {line}")
    print()
    print(NEXT, flush=True)
