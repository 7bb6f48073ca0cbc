"""What stands for a started call outside of durable functions: blocking and awaitable alike (B4, D31).

Owns the two moments a caller may wait for, "it is durable" and "it is settled". Knows nothing of how either is
learnt.
"""

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from resonate_mq.client.blocking import forbid_in_loop

T = TypeVar("T")


class Handle(Generic[T]):
    """A call that was started, or a promise that was looked up.

    Attributes:
        id: id of its durable promise.
        future: for anything that waits for a `concurrent.futures.Future`. Cancelling it does nothing: a durable call
            goes on without its callers.
    """

    __slots__ = ("__weakref__", "_created", "_home", "_settled", "id")

    def __init__(self, promise_id: str, home: asyncio.AbstractEventLoop | None = None) -> None:
        """`home` is the loop on which it is settled."""
        self.id = promise_id
        self._home = home
        self._settled = _Moment[T]()
        self._created = _Moment[None]()

    @property
    def future(self) -> "Future[T]":
        """Settled with the result or the error, for anything that waits for a `concurrent.futures.Future`."""
        return self._settled.shared()

    def done(self) -> bool:
        """Tell whether the result, or the error, is there."""
        return self._settled.done

    def result(self, timeout: float | None = None) -> T:
        """Wait and return the result.

        Args:
            timeout: seconds, None waits for ever.

        Raises:
            TimeoutError: not settled in time; the call goes on and the handle stays usable.
            ResonateTimedoutError: the promise's own deadline passed.
            ResonateCanceledError: somebody cancelled it.
            RuntimeError: called where an event loop runs; write `await handle` there.
            Exception: what the function raised.
        """
        if self._settled.done:
            return self._settled.result()
        forbid_in_loop("handle.result()", "await handle")
        return self._settled.shared().result(timeout)

    def __await__(self) -> Generator[Any, None, T]:
        if not self._settled.done:
            yield from self._settled.wait(self._home).__await__()
        return self._settled.result()

    async def created(self) -> None:
        """Return once the call is durable: it will be executed whatever happens to this process.

        Raises:
            ResonateStoreError: the id is taken with another idempotency key, or the server refused it.
        """
        if not self._created.done:
            await self._created.wait(self._home)
        self._created.result()

    def __repr__(self) -> str:
        return f"<Handle {self.id!r} {'done' if self.done() else 'pending'}>"

    def _wait_created(self) -> None:
        self._created.shared().result()

    def _confirm(self) -> None:
        self._created.come(None)

    def _succeed(self, value: T) -> None:
        self._created.come(None)
        self._settled.come(value)

    def _fail(self, error: BaseException) -> None:
        self._created.come(None)
        self._settled.come(None, error)

    def _refuse(self, error: BaseException) -> None:
        self._created.come(None, error)
        self._settled.come(None, error)


class _Moment(Generic[T]):
    """Something that comes once, on the home loop, and is waited for anywhere.

    Waiters on the home loop get asyncio futures of their own: no lock, no wake-up across threads. The others share
    a concurrent future, made when the first of them comes.
    """

    __slots__ = ("_error", "_future", "_value", "_waiters", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._future: Future[T] | None = None
        self._waiters: list[asyncio.Future[None]] | None = None

    def come(self, value: Any, error: BaseException | None = None) -> None:
        """It is there; what comes later is ignored."""
        with _LOCK:
            if self.done:
                return
            self._value, self._error = value, error
            self.done = True
            future = self._future
        if future is not None:
            self._settle(future)
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def result(self) -> T:
        """Return or raise what it came with. Only once it is done."""
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value

    async def wait(self, home: asyncio.AbstractEventLoop | None) -> None:
        """Return when it has come, whatever it was."""
        loop = asyncio.get_running_loop()
        if loop is home:
            waiter = loop.create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            await waiter
        else:
            across = asyncio.wrap_future(self.shared())
            across.add_done_callback(_read)
            await asyncio.wait([across])

    def shared(self) -> "Future[T]":
        """Return the future of those who wait elsewhere."""
        with _LOCK:
            if self._future is not None:
                return self._future
            future: Future[T] = Future()
            future.set_running_or_notify_cancel()  # a waiter that gives up must not take the result from the others
            self._future = future
            if self.done:
                self._settle(future)
            return future

    def _settle(self, future: "Future[T]") -> None:
        if self._error is None:
            future.set_result(self._value)
        else:
            future.set_exception(self._error)


def _read(future: "asyncio.Future[Any]") -> None:
    """An error is raised from the moment itself; here it counts as seen."""
    if not future.cancelled():
        future.exception()


_LOCK = threading.Lock()  # held for a few instructions: one for all moments is enough
