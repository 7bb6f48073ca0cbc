"""The channel of local mode: the server's own handler, called in this process. Knows no server by itself."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from resonate_mq.transports.api.port import Envelope

Handler = Callable[[Envelope], Awaitable[Envelope]]


class DirectChannel:
    """Hands each envelope to `handler`, for example `server.api.handle_envelope`."""

    def __init__(self, handler: Handler, name: str = "local server") -> None:
        self.name = name
        self._handler = handler

    @asynccontextmanager
    async def open(self) -> AsyncIterator["DirectChannel"]:
        """Nothing to open."""
        yield self

    async def send(self, envelope: Envelope) -> Envelope:
        """Return what the handler answers."""
        return await self._handler(envelope)
