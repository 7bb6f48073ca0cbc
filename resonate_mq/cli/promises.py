"""`resonate-mq promises …`: look at promises and settle them by hand."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resonate_mq.cli import values
from resonate_mq.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption, ask, with_server
from resonate_mq.cli.output import JsonOption, instant, note, show_json, show_table, usage

if TYPE_CHECKING:
    from resonate_mq.cli.connection import Session

app = typer.Typer(help="Look at promises and settle them by hand.", no_args_is_help=True)

STATES = ("pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout")

IdArgument = Annotated[str, typer.Argument(help="Id of the promise.", metavar="ID")]
ValueOption = Annotated[
    str | None,
    typer.Option("--value", metavar="JSON", help="""'{"headers": {}, "data": "\\"approved\\""}': data is JSON text."""),
]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="JSON", help="The JSON value alone; what is no JSON is a string.")
]
RawOption = Annotated[bool, typer.Option("--raw", help="Show values as on the wire: base64.")]


@app.command()
def get(
    promise_id: IdArgument,
    raw: RawOption = False,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Print one promise."""
    from resonate_mq.protocol.requests import PromiseGet

    _show(ask(server, token, PromiseGet(promise_id)), raw=raw, compact=json_)


@app.command()
def create(
    promise_id: IdArgument,
    timeout: Annotated[str, typer.Option(help="How long it may stay pending, for example 30s or 1h.")] = "365d",
    param: Annotated[str | None, typer.Option(metavar="JSON", help="Like --value of `resolve`.")] = None,
    data: DataOption = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be repeated.")] = None,
    raw: RawOption = False,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Create a promise, or print the one that has this id already."""
    from resonate_mq.protocol.requests import PromiseCreate

    timeout_at = int((time.time() + values.seconds(timeout, "--timeout")) * 1000)
    request = PromiseCreate(promise_id, timeout_at, values.value(param, data, "--param"), values.tags(tag or ()))
    _show(ask(server, token, request), raw=raw, compact=json_)


@app.command()
def resolve(
    promise_id: IdArgument,
    value: ValueOption = None,
    data: DataOption = None,
    raw: RawOption = False,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Settle a promise as resolved; whoever awaits it goes on."""
    _settle(promise_id, "resolved", (value, data), (server, token), raw=raw, compact=json_)


@app.command()
def reject(
    promise_id: IdArgument,
    value: ValueOption = None,
    data: DataOption = None,
    raw: RawOption = False,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Settle a promise as rejected; whoever awaits it gets an error."""
    _settle(promise_id, "rejected", (value, data), (server, token), raw=raw, compact=json_)


@app.command()
def cancel(
    promise_id: IdArgument,
    value: ValueOption = None,
    data: DataOption = None,
    raw: RawOption = False,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Settle a promise as canceled."""
    _settle(promise_id, "rejected_canceled", (value, data), (server, token), raw=raw, compact=json_)


@app.command()
def search(
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be repeated: all must match.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Promises a page.")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Go on after this id.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All pages.")] = False,
    raw: RawOption = False,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """List promises by id."""
    from resonate_mq.protocol.requests import PromiseSearch

    if state is not None and state not in STATES:
        usage(f"--state {state!r} is none of {', '.join(STATES)}")
    request = PromiseSearch(state, values.tags(tag) if tag else None, limit, cursor)

    async def run(session: "Session") -> tuple[list[dict[str, Any]], str | None]:
        return await session.pages(request, "promises", every=every)

    records, rest = with_server(server, token, run)
    if json_:
        shown = records if raw else [values.readable(one, "param", "value") for one in records]
        show_json({"promises": shown} | ({} if rest is None else {"cursor": rest}), compact=True)
        return
    show_table(
        ("ID", "STATE", "KIND", "FUNCTION", "CREATED", "SETTLED"),
        (
            (
                one["id"],
                one["state"],
                one["tags"].get("resonate-mq:kind", "-"),
                one["tags"].get("resonate-mq:func", "-"),
                instant(one["createdAt"]),
                instant(one.get("settledAt")),
            )
            for one in records
        ),
    )
    if rest is not None:
        note(f"there are more: --cursor {rest!r}, or --all")


def _settle(
    promise_id: str,
    state: str,
    typed: tuple[str | None, str | None],
    where: tuple[str, str | None],
    *,
    raw: bool,
    compact: bool,
) -> None:
    from resonate_mq.protocol.requests import PromiseSettle

    data = ask(*where, PromiseSettle(promise_id, state, values.value(*typed)))
    found = data["promise"]["state"]
    if found != state:
        note(f"{promise_id!r} was settled before: it stays {found}")
    _show(data, raw=raw, compact=compact)


def _show(data: dict[str, Any], *, raw: bool, compact: bool) -> None:
    record = data["promise"]
    show_json(record if raw else values.readable(record, "param", "value"), compact=compact)
