"""`resonate-mq schedules …`: functions that start by the clock (D45)."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resonate_mq.cli import values
from resonate_mq.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption, ask, with_server
from resonate_mq.cli.output import JsonOption, instant, note, show_json, show_table, usage

if TYPE_CHECKING:
    from resonate_mq.cli.connection import Session

app = typer.Typer(help="Functions that start by the clock.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(help="Id of the schedule.", metavar="ID")]


@app.command()
def create(
    schedule_id: IdArgument,
    cron: Annotated[str, typer.Option(help="'0 9 * * 1-5' (UTC), six fields with seconds first, or @daily.")],
    func: Annotated[str | None, typer.Option(help="Name of the function to start.")] = None,
    arg: Annotated[list[str] | None, typer.Option(metavar="JSON", help="An argument; may be repeated.")] = None,
    version: Annotated[int, typer.Option(min=1, help="Version of the function.")] = 1,
    target: Annotated[str, typer.Option(help="Worker group or address.")] = "default",
    promise_id: Annotated[str, typer.Option(help="Template of the promises' ids.")] = "{{.id}}.{{.timestamp}}",
    timeout: Annotated[str, typer.Option(help="How long each promise may stay pending.")] = "1d",
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Tag of each promise.")] = None,
    param: Annotated[str | None, typer.Option(metavar="JSON", help="Param of each promise, instead of --func.")] = None,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Create a schedule, or print the one that has this id already; shows when it fires next."""
    from resonate_mq.cli.connection import Session
    from resonate_mq.cli.invoke import address_of, call_param
    from resonate_mq.client.cron import has_both_days, next_firings, to_wire
    from resonate_mq.protocol import tags as names
    from resonate_mq.protocol.requests import ScheduleCreate

    if (func is None) == (param is None):
        usage("give --func NAME (with --arg), or --param JSON for a param of your own")
    try:
        wire_cron = to_wire(cron)
    except ValueError as error:
        usage(f"--cron: {error}")
    timeout_ms = round(values.seconds(timeout, "--timeout") * 1000)
    promise_tags = values.tags(tag or ())

    async def run(session: Session) -> dict[str, Any]:
        promise_tags.setdefault(names.TARGET, await address_of(session, target))
        if func is None:
            payload = values.value(param, None, "--param")
        else:
            payload = call_param(func, arg or (), version)
            promise_tags.setdefault(names.KIND, "rpc")
            promise_tags.setdefault(names.FUNC, func)
        request = ScheduleCreate(schedule_id, wire_cron, promise_id, timeout_ms, payload, promise_tags)
        record: dict[str, Any] = (await session.ask(request))["schedule"]
        return record

    record = with_server(server, token, run)
    if record["cron"] != wire_cron or record["promiseId"] != promise_id:
        note(f"schedule {schedule_id!r} existed before and is unchanged; delete it first to change it")
    if has_both_days(record["cron"]):
        note("day of month and weekday are both given: it fires only where both match")
    firings = next_firings(record["cron"], int(time.time() * 1000))
    note("fires next at " + ", ".join(one.strftime("%Y-%m-%d %H:%M:%SZ") for one in firings))
    show_json(values.readable(record, "promiseParam"), compact=json_)


@app.command()
def get(
    schedule_id: IdArgument,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Print one schedule."""
    from resonate_mq.protocol.requests import ScheduleGet

    record = ask(server, token, ScheduleGet(schedule_id))["schedule"]
    show_json(values.readable(record, "promiseParam"), compact=json_)


@app.command()
def delete(
    schedule_id: IdArgument,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Delete a schedule; promises it has created stay."""
    from resonate_mq.protocol.requests import ScheduleDelete

    ask(server, token, ScheduleDelete(schedule_id))
    show_json({"deleted": schedule_id}, compact=json_)


@app.command()
def search(
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Tag of its promises.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Schedules a page.")] = 10,
    cursor: Annotated[str | None, typer.Option(help="Go on after this id.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All pages.")] = False,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """List schedules by id."""
    from resonate_mq.protocol.requests import ScheduleSearch

    request = ScheduleSearch(values.tags(tag) if tag else None, limit, cursor)

    async def run(session: "Session") -> tuple[list[dict[str, Any]], str | None]:
        return await session.pages(request, "schedules", every=every)

    records, rest = with_server(server, token, run)
    if json_:
        shown = [values.readable(one, "promiseParam") for one in records]
        show_json({"schedules": shown} | ({} if rest is None else {"cursor": rest}), compact=True)
        return
    show_table(
        ("ID", "CRON", "FUNCTION", "NEXT", "LAST"),
        (
            (
                one["id"],
                one["cron"],
                one["promiseTags"].get("resonate-mq:func", "-"),
                instant(one["nextRunAt"]),
                instant(one.get("lastRunAt")),
            )
            for one in records
        ),
    )
    if rest is not None:
        note(f"there are more: --cursor {rest!r}, or --all")
