"""From a command to a server and back: one connection, a few requests, answers or an error for people.

Owns which server is meant and what its refusals mean for whoever typed the command.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from resonate_mq.cli.output import CliError

if TYPE_CHECKING:  # heavy, and only needed once a command runs
    from resonate_mq.protocol.requests import Request
    from resonate_mq.transports.api.requester import Requester

T = TypeVar("T")

DEFAULT_SERVER = "http://127.0.0.1:8001"
PATIENCE_S = 5.0  # a server that restarts is waited for this long

ServerOption = Annotated[str, typer.Option("--server", envvar="RESONATE_URL", help="URL of the server.", metavar="URL")]
TokenOption = Annotated[
    str | None, typer.Option("--token", envvar="RESONATE_TOKEN", help="Bearer token of the server.", show_default=False)
]


class Session:
    """An open connection to one server."""

    def __init__(self, requester: "Requester", url: str, token: str | None) -> None:
        self.requester = requester
        self.url = url
        self.token = token

    async def ask(self, request: "Request") -> dict[str, Any]:
        """Return the data of a good answer.

        Raises:
            CliError: the server refused, or cannot be reached.
        """
        from resonate_mq.protocol.errors import InvalidRequestError
        from resonate_mq.transports.port import TransportError

        try:
            reply = await self.requester.call(request, deadline_s=PATIENCE_S)
        except TransportError as error:
            raise unreachable(self.url, error) from error
        except InvalidRequestError as error:
            raise CliError(error.message) from error
        if reply.ok:
            data: dict[str, Any] = reply.data
            return data
        raise refused(reply.status, str(reply.data), self.token)

    async def pages(self, request: Any, member: str, *, every: bool) -> tuple[list[dict[str, Any]], str | None]:
        """Run a search, page after page when `every`; return the records and the cursor of what was left."""
        records: list[dict[str, Any]] = []
        while True:
            data = await self.ask(request)
            records += data[member]
            cursor = data.get("cursor")
            if cursor is None or not every:
                return records, cursor
            request.cursor = cursor


def with_server(server: str, token: str | None, work: Callable[[Session], Awaitable[T]]) -> T:
    """Run `work` with a connection to `server` and return its result."""

    async def run() -> T:
        async with open_session(server, token) as session:
            return await work(session)

    return asyncio.run(run())


@asynccontextmanager
async def open_session(server: str, token: str | None) -> AsyncIterator[Session]:
    """Open a connection for the scope.

    Raises:
        CliError: `server` is no URL of a server.
    """
    from resonate_mq.transports.api.http import HttpChannel
    from resonate_mq.transports.api.requester import Requester
    from resonate_mq.transports.port import TransportConfigError

    try:
        channel = HttpChannel(server, token)
    except TransportConfigError as error:
        raise CliError(str(error), 2) from error
    async with Requester(channel, token=token).open() as requester:
        yield Session(requester, channel.name, token)


def ask(server: str, token: str | None, request: "Request") -> dict[str, Any]:
    """Send one request and return the data of its good answer; see `Session.ask`."""

    async def one(session: Session) -> dict[str, Any]:
        return await session.ask(request)

    return with_server(server, token, one)


def unreachable(url: str, error: Exception) -> CliError:
    """Return the error for a server that does not answer."""
    return CliError(
        f"no answer from the server at {url} within {PATIENCE_S:g} s: {error}\n"
        "  is it running? start one with `resonate-mq dev`, or name another with --server or RESONATE_URL"
    )


def refused(status: int, sentence: str, token: str | None) -> CliError:
    """Return the error for a refusal by the server."""
    if status == 401:
        found = "the server does not accept this token" if token else "the server wants a token"
        return CliError(f"{found} ({sentence}); give the right one with --token or RESONATE_TOKEN")
    return CliError(f"{sentence} ({status})")
