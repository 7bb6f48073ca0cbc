"""Local mode: the real server inside this process, over the memory or SQLite store."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from resonate_mq.protocol.parse import EXTENSIONS
from resonate_mq.transports.api.direct import DirectChannel, Handler
from resonate_mq.transports.inprocess import InProcessTransport
from resonate_mq.wiring.adapters import make_store

LOCAL = "poll"  # so that literal poll:// targets of programs written for a server stay valid


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A running in-process server."""

    handler: Handler
    transport: InProcessTransport
    home: asyncio.AbstractEventLoop

    def channel(self) -> DirectChannel:
        """Return a channel for this loop, or another one's, the lease thread's."""
        return DirectChannel(self.handler, self.home)


def local_pid() -> str:
    """Return a pid by which the next opener of the store recognises a worker that died with this process (D20)."""
    from resonate_mq.server.grace import local_pid_prefix  # see open_local_server

    return f"{local_pid_prefix(os.getpid())}{secrets.token_hex(8)}"


@asynccontextmanager
async def open_local_server(store_url: str, extensions: frozenset[str] = EXTENSIONS) -> AsyncIterator[LocalServer]:
    """Open a server on the running loop that serves this process only.

    Raises:
        StoreUnavailableError: the store cannot be opened; says why and what to do.
    """
    from resonate_mq.server import Server, ServerOptions

    transport = InProcessTransport(LOCAL, one_group=True)
    options = ServerOptions(port=None, name="local", default_transport=LOCAL, extensions=extensions)
    async with Server(store=make_store(store_url), transports=[transport], options=options) as server:
        yield LocalServer(server.api.handle_envelope, transport, asyncio.get_running_loop())
