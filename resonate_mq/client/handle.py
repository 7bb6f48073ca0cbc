"""What stands for a started call outside of durable functions: blocking and awaitable alike (B4, D31).

Owns the two moments a caller may wait for, "it is durable" and "it is settled". Knows nothing of how either is
learnt.
"""

import asyncio
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from resonate_mq.client.blocking import forbid_in_loop

T = TypeVar("T")


class Handle(Generic[T]):
    """A call that was started, or a promise that was looked up.

    Attributes:
        id: id of its durable promise.
        future: settled with the result or the error; wait for it with anything that takes a
            `concurrent.futures.Future`. Cancelling it does nothing: a durable call goes on without its callers.
    """

    __slots__ = ("__weakref__", "_created", "future", "id")

    def __init__(self, promise_id: str) -> None:
        self.id = promise_id
        self.future: Future[T] = _uncancellable()
        self._created: Future[None] = _uncancellable()

    def done(self) -> bool:
        """Tell whether the result, or the error, is there."""
        return self.future.done()

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
        if not self.future.done():
            forbid_in_loop("handle.result()", "await handle")
        return self.future.result(timeout)

    def __await__(self) -> Generator[Any, None, T]:
        if self.future.done():
            return self.future.result()
        return (yield from asyncio.wrap_future(self.future).__await__())

    async def created(self) -> None:
        """Return once the call is durable: it will be executed whatever happens to this process.

        Raises:
            ResonateStoreError: the id is taken with another idempotency key, or the server refused it.
        """
        if not self._created.done():
            await asyncio.wrap_future(self._created)
        self._created.result()

    def __repr__(self) -> str:
        return f"<Handle {self.id!r} {'done' if self.done() else 'pending'}>"

    def _wait_created(self) -> None:
        self._created.result()

    def _confirm(self) -> None:
        if not self._created.done():
            self._created.set_result(None)

    def _succeed(self, value: T) -> None:
        self._confirm()
        if not self.future.done():
            self.future.set_result(value)

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def _refuse(self, error: BaseException) -> None:
        if not self._created.done():
            self._created.set_exception(error)
        self._fail(error)


def _uncancellable() -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()  # a waiter that gives up must not take the result from the others
    return future
