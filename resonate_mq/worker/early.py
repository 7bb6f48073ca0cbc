"""Leaves that run longer than a moment become visible as pending (D9).

Owns the requests that wait for their moment. They are sent from the lease thread, so that a leaf that blocks the
worker's loop cannot hide itself. Arming and disarming happen for every step and cost one step of a dict.
"""

from __future__ import annotations

import asyncio
import logging
import time

from resonate_mq.protocol.requests import TaskFence
from resonate_mq.transports.api.requester import Requester
from resonate_mq.transports.port import TransportError

logger = logging.getLogger(__name__)

AFTER_S = 0.05  # D9
TICK_S = 0.025
IDLE_TICKS = 40  # looks at nothing before the thread goes to sleep
DEADLINE_S = 5.0


class EarlyCreates:
    """The creates of one server's running leaves."""

    def __init__(self) -> None:
        self._armed: dict[str, tuple[float, TaskFence]] = {}
        self._asleep = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event | None = None

    def arm(self, create: TaskFence, after_s: float = AFTER_S) -> None:
        """Send `create` after `after_s` seconds unless it is disarmed before. From the worker's loop."""
        self._armed[create.action.id] = (time.monotonic() + after_s, create)
        if self._asleep and self._loop is not None and self._wake is not None:
            self._asleep = False
            self._loop.call_soon_threadsafe(self._wake.set)

    def disarm(self, promise_id: str) -> bool:
        """Forget it; return whether that came before it was sent."""
        return self._armed.pop(promise_id, None) is not None

    async def run(self, requester: Requester) -> None:
        """Send what is due, on the lease thread's loop, until cancelled."""
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        idle = 0
        async with asyncio.TaskGroup() as sends:
            while True:
                idle = 0 if self._armed else idle + 1
                if idle > IDLE_TICKS:
                    await self._sleep(self._wake)
                await asyncio.sleep(TICK_S)
                now = time.monotonic()
                for promise_id, (due, create) in list(self._armed.items()):
                    if due <= now and self._armed.pop(promise_id, None) is not None:
                        sends.create_task(_send(requester, create))

    async def _sleep(self, wake: asyncio.Event) -> None:
        wake.clear()
        self._asleep = True
        if not self._armed:  # armed between the last look and the flag
            await wake.wait()
        self._asleep = False


async def _send(requester: Requester, create: TaskFence) -> None:
    try:
        await requester.call(create, deadline_s=DEADLINE_S)
    except TransportError as error:
        logger.debug("running leaf not shown as pending", extra={"promise_id": create.action.id, "reason": str(error)})
