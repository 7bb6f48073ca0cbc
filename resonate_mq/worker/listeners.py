"""Who waits for which promise, and how a lost unblock is made up for (D23).

Owns the set of promises this process listens to at one server: registers them, takes unblocks, registers again
after each (re)connect and at jittered growing intervals, because an unblock may be lost. Knows no transport.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import PENDING
from resonate_mq.protocol.requests import RegisterListener
from resonate_mq.transports.api.requester import Requester
from resonate_mq.transports.port import TransportError
from resonate_mq.worker.background import running

logger = logging.getLogger(__name__)

FIRST_REPEAT_S, LAST_REPEAT_S = 5.0, 60.0  # D23
GATHER_S = 0.25  # what is due within this travels together
TICK_S = 3.0  # a look at what is due, so that adding a promise needs no wake-up; below the first repeat

Record = dict[str, Any]


class ListenError(Exception):
    """The server refused to listen to a promise; `status` 404 means there is no such promise."""

    def __init__(self, promise_id: str, status: int, reason: str) -> None:
        super().__init__(promise_id, status, reason)
        self.promise_id = promise_id
        self.status = status
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot listen to promise {self.promise_id!r}: {self.status} {self.reason}"


class _Watch:
    """One promise somebody waits for."""

    __slots__ = ("future", "interval_s", "known", "next_at", "waiters")

    def __init__(self, future: asyncio.Future[Record], now: float) -> None:
        self.future = future
        self.waiters = 0
        self.known = False  # that the promise exists: it may still be on its way to the server
        self.interval_s = FIRST_REPEAT_S
        self.next_at = now + _jittered(FIRST_REPEAT_S)


class Listeners:
    """The promises of one server this process waits for.

    Args:
        requester: open, on the loop everything here is called on.
        address: unicast address of this process, where unblocks are sent.
    """

    def __init__(self, requester: Requester, address: str) -> None:
        self.address = address
        self._requester = requester
        self._watches: dict[str, _Watch] = {}
        self._wake = asyncio.Event()
        self._idle = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Listeners]:
        """Repeat registrations while the scope lasts; on exit the waiters are cancelled."""
        async with running(self._repeat(), "repeating of listeners"):
            try:
                yield self
            finally:
                for watch in self._watches.values():
                    watch.future.cancel()
                self._watches.clear()

    async def settled(self, promise_id: str) -> Record:
        """Register, wait, and return the settled PromiseRecord.

        Raises:
            ListenError: there is no such promise (404), or the server refuses the listener.
            TransportError: the server did not answer the registration until its deadline.
        """
        watch = self._watch(promise_id)
        watch.waiters += 1
        try:
            if watch.waiters == 1 or not watch.future.done():
                self.observe_reply(promise_id, await self._requester.call(self.registration(promise_id)))
            return await asyncio.shield(watch.future)
        finally:
            self._leave(promise_id, watch)

    async def watch(self, promise_id: str) -> Record:
        """Wait like `settled` for a promise whose registration the caller sends itself.

        Send `registration(promise_id)` in the same sequence as the create, hand its reply to `observe_reply`, and
        start this before either, so that no unblock can come too early.
        """
        watch = self._watch(promise_id)
        watch.waiters += 1
        try:
            return await asyncio.shield(watch.future)
        finally:
            self._leave(promise_id, watch)

    @contextmanager
    def expected(self, promise_id: str) -> Iterator[asyncio.Future[Record]]:
        """Like `watch`, without a task of its own: the future gets the settled record while the scope lasts.

        Everybody who waits for this promise shares the future: a caller that may be cancelled shields it.
        """
        watch = self._watch(promise_id)
        watch.waiters += 1
        try:
            yield watch.future
        finally:
            self._leave(promise_id, watch)

    def registration(self, promise_id: str) -> RegisterListener:
        """Return the request that registers this process."""
        return RegisterListener(promise_id, self.address)

    def observe_reply(self, promise_id: str, reply: Reply) -> None:
        """Take in the reply to a registration: a settled record ends the wait, a refusal fails it.

        Raises nothing; whoever waits gets `ListenError`.
        """
        watch = self._watches.get(promise_id)
        if reply.ok:
            if watch is not None:
                watch.known = True
            self.observe(reply.data["promise"])
            return
        if watch is not None and not watch.future.done() and reply.status not in (429, 503):
            watch.future.set_exception(ListenError(promise_id, reply.status, str(reply.data)))

    def observe(self, record: Record) -> None:
        """Take in any record of a promise (an unblock, an answer); a settled one ends the wait for it."""
        if record["state"] == PENDING:
            return
        watch = self._watches.get(record["id"])
        if watch is not None and not watch.future.done():
            watch.future.set_result(record)

    def reconnected(self) -> None:
        """Register everything again at once: unblocks may have been lost while the transport was away."""
        for watch in self._watches.values():
            watch.next_at = 0.0
            watch.interval_s = FIRST_REPEAT_S
        self._wake.set()

    @property
    def waiting_for(self) -> int:
        """How many promises are waited for."""
        return len(self._watches)

    def _watch(self, promise_id: str) -> _Watch:
        watch = self._watches.get(promise_id)
        if watch is None or watch.future.cancelled():
            loop = asyncio.get_running_loop()
            watch = self._watches[promise_id] = _Watch(loop.create_future(), loop.time())
            if self._idle:
                self._wake.set()
        return watch

    def _leave(self, promise_id: str, watch: _Watch) -> None:
        watch.waiters -= 1
        if watch.waiters:
            return
        if self._watches.get(promise_id) is watch:
            del self._watches[promise_id]
        if watch.future.done() and not watch.future.cancelled():
            watch.future.exception()  # seen by nobody is no error of the loop's
        else:
            watch.future.cancel()

    async def _repeat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            now = loop.time()
            due = [
                (promise_id, watch)
                for promise_id, watch in self._watches.items()
                if watch.next_at <= now + GATHER_S and not watch.future.done()
            ]
            for _, watch in due:
                watch.interval_s = min(watch.interval_s * 2, LAST_REPEAT_S)
                watch.next_at = now + _jittered(watch.interval_s)
            if due:
                await self._register([promise_id for promise_id, _ in due])
            await self._pause()

    async def _register(self, promise_ids: list[str]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for promise_id in promise_ids:
                tasks.create_task(self._register_one(promise_id))

    async def _register_one(self, promise_id: str) -> None:
        try:
            reply = await self._requester.call(self.registration(promise_id), deadline_s=FIRST_REPEAT_S)
        except TransportError as error:
            logger.debug("listener not registered again", extra={"promise_id": promise_id, "reason": str(error)})
            return
        watch = self._watches.get(promise_id)
        if reply.status != 404 or (watch is not None and watch.known):
            self.observe_reply(promise_id, reply)  # else its create has not been answered yet; that answer decides

    async def _pause(self) -> None:
        """Until a repeat is due; without watches, until there is one. A new watch is noticed within a tick."""
        self._idle = not self._watches
        due: float | None = None
        if self._watches:
            now = asyncio.get_running_loop().time()
            earliest = min((watch.next_at for watch in self._watches.values() if not watch.future.done()), default=now)
            due = max(now + GATHER_S, min(earliest, now + TICK_S))
        try:
            async with asyncio.timeout_at(due):
                await self._wake.wait()
        except TimeoutError:
            return


class ListenersByServer:
    """Routes unblocks to the listeners of the store they come from (D1)."""

    def __init__(self, listeners: Mapping[Requester, Listeners]) -> None:
        self._listeners = dict(listeners)
        self._doubt_again_at = 0.0

    def deliver(self, store_id: str | None, records: tuple[Record, ...]) -> None:
        """Hand settled records to whoever waits for them; those of an unknown store are not believed."""
        known = {requester.known.store_id for requester in self._listeners}
        if store_id is not None and None not in known and store_id not in known:
            # perhaps a server of ours came back with another store: its answers to registrations will tell
            now = asyncio.get_running_loop().time()
            if now < self._doubt_again_at:
                return
            self._doubt_again_at = now + FIRST_REPEAT_S
            for requester in self._listeners:
                requester.recheck()
            self.reconnected()
            return
        for requester, listeners in self._listeners.items():
            if store_id is None or requester.known.store_id in (None, store_id):
                for record in records:
                    listeners.observe(record)

    def reconnected(self) -> None:
        """Register everything again, everywhere."""
        for listeners in self._listeners.values():
            listeners.reconnected()


def _jittered(interval_s: float) -> float:
    return interval_s * random.uniform(0.8, 1.2)
