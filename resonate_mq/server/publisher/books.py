"""What the store has to learn of deliveries, written lazily: nothing waits for it (D17, D23).

A confirmed hint is written down only if its task is still pending about a second later; under load almost none is.
"""

import asyncio
import logging
from typing import Any, Protocol

from resonate_mq.machine.background import Background, ForgetListeners, RearmHints
from resonate_mq.protocol.envelope import Reply

logger = logging.getLogger(__name__)

FLUSH_S = 0.6  # twice this is below the 2 s for which the committing server has the hint to itself
FIRST_RESEND_MS = 10_000
LAST_RESEND_MS = 300_000
WRITE_LIMIT = 500  # of one background request, so that requests of people are not kept waiting


class Submitter(Protocol):
    """The part of the kernel this needs."""

    def submit(self, item: Background) -> "asyncio.Future[Reply]":
        """Queue one request."""
        ...

    def now_ms(self) -> int:
        """Return about the store's time."""
        ...


def resend_after_ms(attempt: int) -> int:
    """Return how long a confirmed hint may stay unanswered before it is sent again: 10 s doubling to 5 min."""
    return min(FIRST_RESEND_MS << min(max(attempt, 0), 10), LAST_RESEND_MS)


class Books:
    """Collects confirmed hints and delivered unblocks and writes them in groups."""

    def __init__(self, kernel: Submitter) -> None:
        self._kernel = kernel
        self._young: dict[str, tuple[int, int]] = {}
        self._old: dict[str, tuple[int, int]] = {}
        self._told: dict[tuple[str, str], None] = {}
        self._filled = asyncio.Event()

    def sent(self, task_id: str, version: int, attempt: int) -> None:
        """Note that a hint was confirmed, or that its destination takes none now: it is due again later."""
        self._young[task_id] = (version, self._kernel.now_ms() + resend_after_ms(attempt))
        self._filled.set()

    def left(self, task_id: str) -> None:
        """Forget a hint whose task is not pending any more, or that is being sent again."""
        if self._young or self._old:
            self._young.pop(task_id, None)
            self._old.pop(task_id, None)

    def told(self, promise_id: str, address: str) -> None:
        """Note that a listener was told of a settlement, or given up."""
        self._told[promise_id, address] = None
        self._filled.set()

    def is_told(self, promise_id: str, address: str) -> bool:
        """Tell whether a delivery is noted here and not yet written."""
        return (promise_id, address) in self._told

    @property
    def has_hints(self) -> bool:
        """Tell whether confirmed hints are noted here and not yet written."""
        return bool(self._young or self._old)

    def clear(self) -> None:
        """Forget everything (debug.reset)."""
        self._young, self._old, self._told = {}, {}, {}

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(FLUSH_S)
            await self.flush(self._rotate())
            if not (self._young or self._old or self._told):
                self._filled.clear()

    async def flush(self, hints: dict[str, tuple[int, int]] | None = None) -> None:
        """Write `hints` (None: everything, before the server stops) and all deliveries."""
        if hints is None:
            hints = {**self._old, **self._young}
            self._young, self._old = {}, {}
        sent = [(task_id, version, due_at) for task_id, (version, due_at) in hints.items()]
        for start in range(0, len(sent), WRITE_LIMIT):
            await self._write(RearmHints(tuple(sent[start : start + WRITE_LIMIT])))
        told = list(self._told)
        for start in range(0, len(told), WRITE_LIMIT):
            part = told[start : start + WRITE_LIMIT]
            if not await self._write(ForgetListeners(tuple(part))):
                return  # kept: written with the next flush
            for one in part:
                self._told.pop(one, None)

    def _rotate(self) -> dict[str, tuple[int, int]]:
        ripe, self._old, self._young = self._old, self._young, {}
        return ripe

    async def _write(self, request: Any) -> bool:
        reply = await self._kernel.submit(request)
        if not reply.ok:  # a lost note costs a repeated message, nothing else
            logger.warning("deliveries were not written down", extra={"reason": reply.data})
        return reply.ok
