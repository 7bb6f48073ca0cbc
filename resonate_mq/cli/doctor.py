"""`resonate-mq doctor`: is everything there that a server and its workers need? Says what to do about what is not."""

import asyncio
from typing import Annotated

import typer

from resonate_mq.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption
from resonate_mq.cli.output import JsonOption, show_json

MARKS = {"ok": "ok  ", "warning": "note", "failed": "FAIL"}


def doctor(
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Check this store, for example sqlite:///r.db.")
    ] = None,
    transport: Annotated[
        list[str] | None, typer.Option(metavar="NAME=URL", help="Check this broker. Repeatable.")
    ] = None,
    address: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Check this target. Repeatable.")] = None,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Check Python and packages, store, server, clock, transports, workers, addresses; exit code 1 when one fails."""
    from resonate_mq.cli.checkup import examine
    from resonate_mq.cli.serve import named_urls

    findings = asyncio.run(examine(server, token, store, named_urls(transport or ()), address or ()))
    if json_:
        show_json({"findings": [one._asdict() for one in findings]}, compact=True)
    else:
        for one in findings:
            print(f"{MARKS[one.state]}  {one.subject}: {one.found}")
            if one.advice:
                print(f"      -> {one.advice}")
    if any(one.state == "failed" for one in findings):
        raise typer.Exit(1)
