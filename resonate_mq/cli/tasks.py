"""`resonate-mq tasks …`: who executes what, and tasks that were halted."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from resonate_mq.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption, ask, with_server
from resonate_mq.cli.output import JsonOption, note, show_json, show_table, usage

if TYPE_CHECKING:
    from resonate_mq.cli.connection import Session

app = typer.Typer(help="Who executes what; stop a task and let it go on.", no_args_is_help=True)

STATES = ("pending", "acquired", "suspended", "halted", "fulfilled")

IdArgument = Annotated[str, typer.Argument(help="Id of the task, which is that of its promise.", metavar="ID")]


@app.command()
def get(
    task_id: IdArgument,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Print one task."""
    from resonate_mq.protocol.requests import TaskGet

    show_json(ask(server, token, TaskGet(task_id))["task"], compact=json_)


@app.command()
def search(
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Tasks a page.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Go on after this id.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All pages.")] = False,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """List tasks by id."""
    from resonate_mq.protocol.requests import TaskSearch

    if state is not None and state not in STATES:
        usage(f"--state {state!r} is none of {', '.join(STATES)}")

    async def run(session: "Session") -> tuple[list[dict[str, Any]], str | None]:
        return await session.pages(TaskSearch(state, limit, cursor), "tasks", every=every)

    records, rest = with_server(server, token, run)
    if json_:
        show_json({"tasks": records} | ({} if rest is None else {"cursor": rest}), compact=True)
        return
    show_table(
        ("ID", "STATE", "VERSION", "RESUMES", "PID"),
        (
            (
                one["id"],
                one["state"],
                str(one["version"]),
                str(one["resumes"]),
                one.get("pid", "-"),
            )
            for one in records
        ),
    )
    if rest is not None:
        note(f"there are more: --cursor {rest!r}, or --all")


@app.command()
def halt(
    task_id: IdArgument,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Stop a task: nobody executes it until `continue`."""
    from resonate_mq.protocol.requests import TaskHalt

    ask(server, token, TaskHalt(task_id))
    _show_now(task_id, server, token, compact=json_)


@app.command("continue")
def continue_(
    task_id: IdArgument,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Let a halted task go on."""
    from resonate_mq.protocol.requests import TaskContinue

    ask(server, token, TaskContinue(task_id))
    _show_now(task_id, server, token, compact=json_)


def _show_now(task_id: str, server: str, token: str | None, *, compact: bool) -> None:
    from resonate_mq.protocol.requests import TaskGet

    show_json(ask(server, token, TaskGet(task_id))["task"], compact=compact)
