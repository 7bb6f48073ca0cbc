"""`resonate-mq tree ID`: one execution and everything it called, as a tree."""

from typing import Annotated, Any

import typer

from resonate_mq.cli.connection import DEFAULT_SERVER, ServerOption, TokenOption, with_server
from resonate_mq.cli.output import JsonOption, show_json


def tree(
    promise_id: Annotated[str, typer.Argument(help="Id of the call to start from.", metavar="ID")],
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many promises.")] = 1000,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Show a call and everything below it: state, kind, function, time taken."""
    from resonate_mq.cli.branches import load, render
    from resonate_mq.cli.connection import Session

    async def run(session: Session) -> dict[str, Any]:
        return await load(session, promise_id, limit)

    node = with_server(server, token, run)
    if json_:
        show_json(node, compact=True)
        return
    for line in render(node):
        print(line)
