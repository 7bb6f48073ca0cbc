"""The requester: typed requests in, replies out, over one channel to one server.

Owns coalescing into `batch` (D44), retries with back-off until the caller's deadline (D15), what the server can
do (D1) and falling back when it cannot (D8, D9). Lives on one event loop. Knows no task and no worker.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from resonate_mq.protocol import requests as r
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.parse import EXTENSIONS
from resonate_mq.transports.api.adapt import ServerFacts
from resonate_mq.transports.api.ambiguity import settle_claim
from resonate_mq.transports.api.exchange import Exchange
from resonate_mq.transports.api.operation import Operation
from resonate_mq.transports.api.port import Channel
from resonate_mq.transports.port import TransportError

DEADLINE_S = 60.0  # how long a call is retried unless its caller says otherwise
MAX_IN_FLIGHT = 4  # batches; D44
MAX_IN_FLIGHT_SINGLE = 64  # requests, where the server has no batch
MIN_BATCH, MAX_BATCH = 16, 100  # operations; D44
MAX_REQUESTS = 400  # in one message: half of what servers take, because one may become two on the wire
FIRST_RETRY_S, LAST_RETRY_S = 0.02, 1.0  # a restarting server is found again within a second
SWEEP_S = 0.25  # how late a deadline may be noticed
AWAY_AFTER_S = 0.5  # one broken keep-alive connection is no outage
PROBE_S = 3.0
PROBE_ID = "resonate-mq-is-the-server-back"  # of a promise that nobody makes

StateCallback = Callable[[bool, str], None]


class RequesterClosedError(TransportError):
    """Nobody will answer any more: whoever tries again in a loop must stop."""

    retryable = False


class Requester:
    """Talks to one server. Use inside `async with requester.open():`, on the loop of that scope.

    Args:
        channel: how requests travel.
        token: goes into `head.auth` of every request.
        deadline_s: how long a call is retried by default.
        allowed: extensions that may be used at all; with none, no extended kind or head is ever sent.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        token: str | None = None,
        deadline_s: float = DEADLINE_S,
        allowed: frozenset[str] = EXTENSIONS,
    ) -> None:
        self.channel = channel
        self._token = token
        self._deadline_s = deadline_s
        self._allowed = allowed
        self._exchange = Exchange(channel, token, allowed)
        self._queue: deque[Operation] = deque()
        self._waiting: set[Operation] = set()
        self._sends: set[asyncio.Task[None]] = set()
        self._under_way: dict[asyncio.Task[None], tuple[list[Operation], float]] = {}
        self._given_up: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._failing_since = 0.0
        self._away: str | None = None
        self._state_callbacks: list[StateCallback] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flush_handle: asyncio.Handle | None = None
        self._sweep_handle: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Requester]:
        """Open the channel; on exit fail what has no answer yet."""
        async with self.channel.open():
            self._loop = asyncio.get_running_loop()
            self._probe: asyncio.Future[list[Reply]] = self._loop.create_future()
            self._probe.set_result([])
            try:
                yield self
            finally:
                await self._close()

    def over(self, channel: Channel) -> Requester:
        """Return another requester to the same server, over a channel of its own."""
        return Requester(channel, token=self._token, deadline_s=self._deadline_s, allowed=self._allowed)

    async def call(
        self, request: r.Request, *, head: dict[str, Any] | None = None, deadline_s: float | None = None
    ) -> Reply:
        """Return the server's reply to one request; 503 and 429 only after the deadline.

        Args:
            request: any request; extensions it uses are dropped where the server has none.
            head: members to add to the request's head.
            deadline_s: seconds to go on trying; the requester's default when None.

        Raises:
            TransportError: no answer until the deadline; the request may or may not have been executed.
        """
        return (await self.sequence((request,), head=head, deadline_s=deadline_s))[0]

    async def sequence(
        self,
        requests: Sequence[r.Request],
        *,
        head: dict[str, Any] | None = None,
        deadline_s: float | None = None,
    ) -> list[Reply]:
        """Run requests in order, stopping after the first reply that is neither 200 nor 300.

        Returns at least one reply, fewer than requests when it stopped; for no requests none, once the server's facts
        are known. Raises like `call`.
        """
        loop = self._loop  # kept: it is forgotten when the scope ends under a call
        if loop is None:
            raise RequesterClosedError(f"{self.channel.name}: the requester is closed; use it inside its open() scope")
        deadline = loop.time() + (self._deadline_s if deadline_s is None else deadline_s)
        replies: list[Reply] = []
        rest = tuple(requests)
        while True:
            part = rest[:MAX_REQUESTS]
            operation = Operation(part, head, deadline, loop.create_future())
            self._submit(operation)
            try:
                got = await operation.future
            finally:
                self._waiting.discard(operation)
            mine = await settle_claim(self, operation, got, deadline - loop.time())
            replies += got if mine is None else [*got[:-1], mine]
            rest = rest[len(got) :]
            if not rest or not (replies and replies[-1].ok):
                return replies

    async def facts(self, deadline_s: float | None = None) -> ServerFacts:
        """Return what the server says about itself, asking it unless it is known.

        Raises:
            TransportError: the server did not answer until the deadline.
        """
        if self._exchange.facts is None:
            await self.sequence((), deadline_s=deadline_s)
        return self._exchange.last_facts

    def recheck(self) -> None:
        """Ask the server anew what it is before the next request: there is reason to think it is another one."""
        self._exchange.forget()

    @property
    def known(self) -> ServerFacts:
        """What is known of the server without asking; an official server's facts before the first contact."""
        return self._exchange.last_facts

    @property
    def away(self) -> str | None:
        """Why the server counts as unreachable, None while it does not."""
        return self._away

    def on_state(self, callback: StateCallback) -> None:
        """Register `callback(reachable, reason)`, told on the loop of every change; reachable to begin with."""
        self._state_callbacks.append(callback)

    def _submit(self, operation: Operation) -> None:
        self._waiting.add(operation)
        self._queue.append(operation)
        self._flush_soon()
        if self._sweep_handle is None:
            assert self._loop is not None
            self._sweep_handle = self._loop.call_later(SWEEP_S, self._sweep)

    def _flush_soon(self) -> None:
        if self._flush_handle is None and self._loop is not None:
            self._flush_handle = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        assert self._loop is not None
        while self._queue and len(self._sends) < self._in_flight_limit():
            batch = self._take()
            if not batch:
                return
            task = self._loop.create_task(self._send(batch))
            self._sends.add(task)
            self._under_way[task] = (batch, self._loop.time())
            task.add_done_callback(self._sent)

    def _in_flight_limit(self) -> int:
        if self._exchange.facts is None or self._failures:
            return 1  # learn what it can do, or whether it is back, before sending it more
        return MAX_IN_FLIGHT if self._exchange.batches else MAX_IN_FLIGHT_SINGLE

    def _take(self) -> list[Operation]:
        room = min(max(len(self._waiting) // 4, MIN_BATCH), MAX_BATCH) if self._exchange.batches else 1
        batch: list[Operation] = []
        requests = 0
        while self._queue and len(batch) < room:
            operation = self._queue.popleft()
            if operation.future.done():
                continue
            requests += len(operation.requests)
            if batch and (operation.alone or requests > MAX_REQUESTS):
                self._queue.appendleft(operation)
                break
            batch.append(operation)
            if operation.alone:
                break
        return batch

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sends.discard(task)
        self._under_way.pop(task, None)
        if not task.cancelled() and task.exception() is not None:
            raise task.exception() or RuntimeError  # a bug of ours: let the loop's handler show it
        if self._queue:
            self._flush_soon()

    async def _send(self, batch: list[Operation]) -> None:
        try:
            again = await self._exchange_or_give_up(batch)
        except TransportError as error:
            await self._unanswered(batch, error)
            return
        except (TypeError, ValueError) as error:
            self._unencodable(batch, error)
            return
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            for operation in batch:
                operation.fail(error)
            raise
        self._answered()
        for operation in again:
            self._retry(operation)

    async def _exchange_or_give_up(self, batch: list[Operation]) -> list[Operation]:
        task = asyncio.current_task()
        assert task is not None
        try:
            return await self._exchange.run(batch)
        except asyncio.CancelledError:
            if task not in self._given_up:
                raise
            self._given_up.discard(task)
            task.uncancel()
            raise TransportError(f"{self.channel.name}: no answer in time") from None
        finally:
            self._under_way.pop(task, None)

    def _retry(self, operation: Operation) -> None:
        if operation.future.done():
            return
        assert self._loop is not None
        if not operation.attempts:
            self._queue.appendleft(operation)
            self._flush_soon()
            return
        delay = _delay_s(operation.attempts)
        self._loop.call_later(delay, self._requeue, operation)

    def _requeue(self, operation: Operation) -> None:
        if not operation.future.done():
            self._queue.append(operation)
            self._flush_soon()

    async def _unanswered(self, batch: list[Operation], error: TransportError) -> None:
        assert self._loop is not None
        if not error.retryable:
            for operation in batch:
                operation.fail(error)
            return
        self._exchange.forget()  # whoever answers next may be another server
        for operation in batch:
            operation.unanswered(str(error))
        self._queue.extendleft(reversed(batch))
        self._failures += 1
        now = self._loop.time()
        if self._failures == 1:
            self._failing_since = now
        elif self._away is None and now - self._failing_since >= AWAY_AFTER_S:
            self._tell(str(error))
        # the back-off happens here, inside the only send that may be in flight
        await asyncio.sleep(_delay_s(self._failures))
        if self._state_callbacks and self._probe.done() and self._loop is not None:
            self._ask_whether_it_is_back(self._loop)

    def _ask_whether_it_is_back(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on asking although nobody has a request: whoever waits for it to come back must hear of it."""
        self._probe = loop.create_future()
        harmless = () if "server.info" in self._allowed else (r.PromiseGet(PROBE_ID),)
        self._queue.append(Operation(harmless, None, float("inf"), self._probe))

    def _answered(self) -> None:
        self._failures = 0
        if self._away is not None:
            self._tell(None)

    def _tell(self, reason: str | None) -> None:
        self._away = reason
        for callback in self._state_callbacks:
            callback(reason is None, reason or "")

    def _unencodable(self, batch: list[Operation], error: Exception) -> None:
        if len(batch) == 1:
            batch[0].refuse(f"Invalid request envelope: {error}")
            return
        for operation in batch:
            operation.alone = True
        self._queue.extendleft(reversed(batch))

    def _sweep(self) -> None:
        """Fail what passed its deadline, wherever it is."""
        assert self._loop is not None
        self._sweep_handle = None
        now = self._loop.time()
        for operation in [one for one in self._waiting if one.deadline <= now]:
            operation.expire(self.channel.name)
            self._waiting.discard(operation)
        for task, (batch, since) in self._under_way.items():
            if task not in self._given_up and self._nobody_waits(batch, now - since):
                self._given_up.add(task)  # a server that hangs must not hold a lane
                task.cancel()
        if self._waiting:
            self._sweep_handle = self._loop.call_later(SWEEP_S, self._sweep)

    def _nobody_waits(self, batch: list[Operation], age_s: float) -> bool:
        """Tell whether all of a message was given up; asking whether the server is back may take `PROBE_S`."""
        open_ones = [operation for operation in batch if not operation.future.done()]
        return not open_ones or (age_s > PROBE_S and all(one.future is self._probe for one in open_ones))

    async def _close(self) -> None:
        self._loop = None
        for handle in (self._flush_handle, self._sweep_handle):
            if handle is not None:
                handle.cancel()
        self._flush_handle = self._sweep_handle = None
        for task in list(self._sends):
            task.cancel()
        if self._sends:
            await asyncio.wait(list(self._sends))
        for operation in list(self._waiting):
            operation.fail(RequesterClosedError(f"{self.channel.name}: closed before the answer came"))
        self._waiting.clear()
        self._queue.clear()
        self._exchange.forget()


def _delay_s(attempt: int) -> float:
    """Exponential with full jitter above half, so that many clients do not come back in step."""
    return float(min(FIRST_RETRY_S * 2 ** min(attempt - 1, 10), LAST_RETRY_S) * random.uniform(0.5, 1.0))


__all__ = ["Requester", "ServerFacts"]
