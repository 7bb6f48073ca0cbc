"""`resonate-mq workers`: which processes there are, what they hold and when they were last heard of."""

import asyncio
import time
from typing import Annotated, Any

import typer

from resonate_mq.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption, with_server
from resonate_mq.cli.output import JsonOption, duration, note, show_json, show_table

SHOWN_TASKS = 3


def workers(
    group: Annotated[str | None, typer.Option(help="Only this worker group.")] = None,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """List worker processes, the tasks they hold, and halted tasks with the reason."""
    from resonate_mq.cli.connection import Session
    from resonate_mq.protocol.requests import TaskGet, TaskSearch, WorkerSearch

    async def run(session: Session) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        found = (await session.ask(WorkerSearch(group)))["workers"]
        halted, _ = await session.pages(TaskSearch("halted"), "tasks", every=False)
        answers = await asyncio.gather(*(session.ask(TaskGet(one["id"])) for one in halted))
        return found, [answer["task"] for answer in answers]  # with the reason, which a search does not tell

    found, halted = with_server(server, token, run)
    if json_:
        show_json({"workers": found, "halted": halted}, compact=True)
        return
    if not found:
        note("no worker has announced itself and no task is held")
    else:
        show_table(("GROUP", "PID", "SLOTS", "FREE", "SEEN", "HOLDS", "FUNCTIONS"), [_row(one) for one in found])
    for task in halted:
        why = task.get("reason", "by hand")
        note(f"halted: {task['id']}: {why}; `resonate-mq tasks continue {task['id']}` resumes it")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    tasks = one["tasks"]
    held = ", ".join(tasks[:SHOWN_TASKS]) + (
        f" and {len(tasks) - SHOWN_TASKS} more" if len(tasks) > SHOWN_TASKS else ""
    )
    functions = ", ".join(f"{item['name']} v{item['version']}" for item in one.get("functions", ()))
    seen = one.get("lastSeenAt")
    return (
        one.get("group", "-"),
        one["pid"],
        str(one.get("concurrency", "-")),
        str(one.get("free", "-")),
        "-" if seen is None else f"{duration(max(0, time.time() * 1000 - seen))} ago",
        held or "-",
        functions or ("-" if one["announced"] else "(not announced)"),
    )
