"""The real server of a test, on a thread and a loop of its own, and clients of it that are stopped for sure.

Owns their lives. Knows nothing of what the tests do with them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from resonate_mq import Resonate
from resonate_mq.server import Server, ServerOptions
from resonate_mq.wiring import make_publishers, make_store
from tests.support.extensions import ENABLED

START_S = 20.0


class ServerThread:
    """A server over HTTP for blocking tests; use as a context manager."""

    def __init__(self, store: str = "memory://", transports: Mapping[str, str] | None = None, **options: Any) -> None:
        self._store = store
        self._transports = dict(transports or {})
        self._options = {"port": 0, "extensions": ENABLED, **options}
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready: Future[str] = Future()
        self._thread = threading.Thread(target=self._run, name="test-server", daemon=True)
        self.url = ""

    def __enter__(self) -> ServerThread:
        self._thread.start()
        self.url = self._ready.result(START_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_S)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        try:
            store = make_store(self._store)
            transports = make_publishers(self._transports)
            async with Server(store, transports, ServerOptions(**self._options)) as server:
                self._ready.set_result(str(server.url))
                await self._stop.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise


class Clients:
    """Makes clients of one mode and stops them all."""

    def __init__(self, url: str | None = None, store: str | None = None) -> None:
        self.url = url
        self.store = store
        self._made: list[Resonate] = []

    def __call__(self, **options: Any) -> Resonate:
        """Return a client: of the server if there is one, else a local one."""
        if self.url is None:
            client = Resonate.local(store=self.store, **options)
        else:
            client = Resonate.remote(url=self.url, **options)
        return self.keep(client)

    def keep(self, client: Resonate) -> Resonate:
        """Stop this one too."""
        self._made.append(client)
        return client

    def stop_all(self) -> None:
        """Stop them, youngest first."""
        while self._made:
            self._made.pop()._core.runtime.stop(10)
