"""Says so when nobody takes a call (D35): one line per call after ten seconds, with what to do.

Owns one timer for all calls of a client; it runs only while calls are waiting. Decides nothing.
"""

import asyncio
import logging
from collections import deque
from typing import Any

from resonate_mq.client.handle import Handle
from resonate_mq.protocol import requests as r
from resonate_mq.transports.port import TransportError
from resonate_mq.wiring import Opened

PATIENCE_S = 10.0  # D35
TICK_S = 1.0  # how late the line may come

logger = logging.getLogger(__name__)


class Untaken:
    """Calls whose task may still be waiting for a worker."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._waiting: deque[tuple[float, Handle[Any], str]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._opened: Opened | None = None
        self._checks: set[asyncio.Task[None]] = set()

    def expect(self, opened: Opened, address: str, handle: Handle[Any]) -> None:
        """Look after a call that was just made durable."""
        loop = asyncio.get_running_loop()
        if self._opened is not opened:  # the client was stopped and started again: its old loop's timer is dead
            self._opened, self._timer = opened, None
            self._waiting.clear()
        self._waiting.append((loop.time() + self._patience_s, handle, address))
        if self._timer is None:
            self._timer = loop.call_later(self._patience_s, self._sweep, opened)

    def _sweep(self, opened: Opened) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiting and (self._waiting[0][0] <= now or self._waiting[0][1].done()):
            _, handle, address = self._waiting.popleft()
            if not handle.done():
                task = loop.create_task(self._check(opened, handle, address))
                self._checks.add(task)
                task.add_done_callback(self._checks.discard)
        self._timer = loop.call_later(TICK_S, self._sweep, opened) if self._waiting else None

    async def _check(self, opened: Opened, handle: Handle[Any], address: str) -> None:
        try:
            reply = await opened.requester.call(r.TaskGet(handle.id), deadline_s=self._patience_s)
        except TransportError:
            return  # the server is away: the requester has said so
        if reply.ok and reply.data["task"]["state"] == "pending" and reply.data["task"]["version"] == 0:
            logger.warning(
                "no worker has taken %s for %.0f s (address %s); is a worker of that group running? "
                "`resonate-mq doctor` looks",
                handle.id,
                self._patience_s,
                address,
            )
