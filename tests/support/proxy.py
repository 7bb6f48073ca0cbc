"""A TCP proxy that breaks lines the ways networks do: cut, frozen, half open, refusing. One hour of chaos in 100 lines.

Owns the connections through it. Knows nothing of what they carry.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ChaosProxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target_port`; use `running` to make one."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self._lines: set[_Line] = set()
        self._refusing = False
        self._flowing = asyncio.Event()
        self._flowing.set()

    @classmethod
    @asynccontextmanager
    async def running(cls, target_port: int) -> AsyncIterator[ChaosProxy]:
        """Listen on a free port until the scope ends."""
        proxy = cls(target_port)
        server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            proxy.cut()
            await asyncio.sleep(0)

    def cut(self) -> None:
        """Reset every open connection."""
        for line in list(self._lines):
            line.abort()

    def refuse(self) -> None:
        """Cut everything and take no new connection."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        """Take connections again."""
        self._refusing = False

    def freeze(self) -> None:
        """Hold all bytes back; connections stay open and new ones are accepted but get no answer."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let what was held back go on."""
        self._flowing.set()

    def swallow(self) -> None:
        """Make the open connections half open for ever: bytes vanish, nobody is told. New connections work."""
        for line in self._lines:
            line.swallowing = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(writer)
        self._lines.add(line)
        try:
            await self._flowing.wait()
            if self._refusing:
                return
            far_reader, line.far = await asyncio.open_connection("127.0.0.1", self.target_port)
            both = [
                asyncio.ensure_future(self._pump(line, reader, line.far)),
                asyncio.ensure_future(self._pump(line, far_reader, writer)),
            ]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for pump in both:
                pump.cancel()
        except OSError:
            pass  # nobody listens behind us: the caller sees a closed connection
        finally:
            self._lines.discard(line)
            line.abort()

    async def _pump(self, line: _Line, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(2**16):
                await self._flowing.wait()
                if not line.swallowing:
                    sink.write(data)
                    await sink.drain()


class _Line:
    def __init__(self, near: asyncio.StreamWriter) -> None:
        self.near = near
        self.far: asyncio.StreamWriter | None = None
        self.swallowing = False

    def abort(self) -> None:
        self.near.transport.abort()
        if self.far is not None:
            self.far.transport.abort()
