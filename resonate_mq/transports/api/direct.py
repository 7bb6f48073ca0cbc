"""The channel of local mode: the server's own handler, called in this process. Knows no server by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from resonate_mq.transports.api.port import Envelope
from resonate_mq.transports.port import TransportError

Handler = Callable[[Envelope], Awaitable[Envelope]]


class DirectChannel:
    """Hands each envelope to `handler`, for example `server.api.handle_envelope`.

    Args:
        handler: answers an envelope.
        loop: where the handler must run; a channel opened on another loop (the lease thread's) hops there.
        name: how messages call the server.
    """

    def __init__(
        self, handler: Handler, loop: asyncio.AbstractEventLoop | None = None, name: str = "local server"
    ) -> None:
        self.name = name
        self._handler = handler
        self._home = loop

    @asynccontextmanager
    async def open(self) -> AsyncIterator["DirectChannel"]:
        """Nothing to open."""
        yield self

    async def send(self, envelope: Envelope) -> Envelope:
        """Return what the handler answers.

        Raises:
            TransportError: the loop of the handler has ended.
        """
        home = self._home
        if home is None or home is asyncio.get_running_loop():
            return await self._handler(envelope)
        there = self._on_its_loop(envelope)
        try:
            hopped = asyncio.run_coroutine_threadsafe(there, home)
        except RuntimeError as error:
            there.close()
            raise TransportError(f"{self.name}: its event loop has ended") from error
        return await asyncio.wrap_future(hopped)

    def _on_its_loop(self, envelope: Envelope) -> Coroutine[Any, Any, Envelope]:
        async def answer() -> Envelope:
            return await self._handler(envelope)

        return answer()
