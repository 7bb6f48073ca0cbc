"""The channel of local mode: the server's own handler, called in this process. Knows no server by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

from resonate_mq.transports.api.port import Envelope, info_by_envelope
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
        answer: Future[Envelope] = Future()
        try:
            home.call_soon_threadsafe(self._begin, envelope, answer)
        except RuntimeError as error:
            raise TransportError(f"{self.name}: its event loop has ended") from error
        return await asyncio.wrap_future(answer)

    async def server_info(self, head: dict[str, Any] | None) -> dict[str, Any] | None:
        """Ask with an envelope: the server is one of ours."""
        return await info_by_envelope(self, head)

    def _begin(self, envelope: Envelope, answer: "Future[Envelope]") -> None:
        """On the handler's loop. The coroutine is made here: one that a stopping loop never began would be lost."""
        task = asyncio.ensure_future(self._handler(envelope))

        def done(task: "asyncio.Future[Envelope]") -> None:
            if answer.cancelled() or not answer.set_running_or_notify_cancel():
                return
            if task.cancelled():
                answer.set_exception(TransportError(f"{self.name}: its event loop has ended"))
            elif (error := task.exception()) is not None:
                answer.set_exception(error)
            else:
                answer.set_result(task.result())

        task.add_done_callback(done)
