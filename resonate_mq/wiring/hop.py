"""A handler that lives on one event loop, called from another: how the lease thread reaches an in-process server."""

import asyncio

from resonate_mq.transports.api.direct import Handler
from resonate_mq.transports.api.port import Envelope
from resonate_mq.transports.port import TransportError


def hopping(handler: Handler, home: asyncio.AbstractEventLoop) -> Handler:
    """Return `handler` for use on any loop; it is executed on `home`."""

    async def call(envelope: Envelope) -> Envelope:
        if asyncio.get_running_loop() is home:
            return await handler(envelope)
        try:
            answer = asyncio.run_coroutine_threadsafe(_handle(handler, envelope), home)
        except RuntimeError as error:
            raise TransportError("the local server's loop has ended") from error
        return await asyncio.wrap_future(answer)

    return call


async def _handle(handler: Handler, envelope: Envelope) -> Envelope:
    return await handler(envelope)
