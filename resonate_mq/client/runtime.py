"""Where a client lives: the event loop, its thread if it has one of its own, and what is open on it (D31, D37).

Owns start, stop, fork and exit. What is opened is given as a context manager; nothing here knows what it holds.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Generic, TypeVar

from resonate_mq.client.blocking import forbid_in_loop
from resonate_mq.errors import ResonateShutdownError

T = TypeVar("T")
R = TypeVar("R")

EXIT_LIMIT_S = 2.0  # an interpreter that ends waits this long for leases to be given back (D37)
STOP_LIMIT_S = 30.0  # a stop that is asked for lets what runs come to an end, then goes on without it

logger = logging.getLogger(__name__)


class _Life(Generic[T]):
    """One start until its stop: a loop and what was opened on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.thread: threading.Thread | None = None
        self.opened: asyncio.Future[T] = loop.create_future()
        self.started: Future[None] = Future()
        self.stop_wanted = asyncio.Event()
        self.stopping = False
        self.tasks: set[asyncio.Task[Any]] = set()


class Runtime(Generic[T]):
    """Runs coroutines against something that is opened once, on a loop of its own or on the caller's.

    Args:
        open_scope: opens what the coroutines need; entered on the loop, left on stop.
        hurry: what is done first when the interpreter ends and time is short.
        name: of the thread.
    """

    def __init__(
        self,
        open_scope: Callable[[], AbstractAsyncContextManager[T]],
        hurry: Callable[[T], Coroutine[Any, Any, None]],
        name: str,
    ) -> None:
        self._open_scope = open_scope
        self._hurry = hurry
        self._name = name
        self._lock = threading.Lock()
        self._life: _Life[T] | None = None
        self._stack: AsyncExitStack | None = None
        _ALL.add(self)

    @property
    def is_running(self) -> bool:
        """Tell whether it was started and not stopped."""
        return self._life is not None

    def start(self) -> None:
        """Start on a daemon thread and return once everything is open; harmless when it runs already.

        Raises:
            Exception: whatever opening raised; nothing runs then.
        """
        life = self._ensure()
        if life.thread is not None and life.thread is not threading.current_thread():
            life.started.result()

    def stop(self, limit_s: float = STOP_LIMIT_S) -> None:
        """Close everything and end the thread; harmless when nothing runs.

        Raises:
            RuntimeError: it lives on somebody's loop: leave `async with resonate:` instead.
        """
        life = self._life
        if life is None:
            return
        if life.thread is None:
            raise RuntimeError("resonate runs on your event loop; leave its `async with` block to stop it")
        self._begin_stop(life)
        life.thread.join(limit_s)
        if life.thread.is_alive():
            logger.warning("%s did not stop within %g s; left to end with the process", self._name, limit_s)
        self._forget(life)

    async def stop_async(self, limit_s: float = STOP_LIMIT_S) -> None:
        """Like `stop`, without blocking the running loop."""
        await asyncio.to_thread(self.stop, limit_s)

    async def start_async(self) -> None:
        """Like `start`, without blocking the running loop."""
        life = self._ensure()
        if life.loop is not asyncio.get_running_loop():
            await asyncio.wrap_future(life.started)

    async def enter(self) -> None:
        """Open on the running loop (`async with resonate:`).

        Raises:
            RuntimeError: it runs already.
        """
        with self._lock:
            if self._life is not None:
                raise RuntimeError("resonate is running already; stop() it before `async with`")
            life = self._life = _Life[T](asyncio.get_running_loop())
        stack = AsyncExitStack()
        try:
            life.opened.set_result(await stack.enter_async_context(self._open_scope()))
        except BaseException as error:
            self._fail_opening(life, error)
            raise
        life.started.set_result(None)
        self._stack = stack

    async def leave(self) -> None:
        """Close what `enter` opened."""
        life, stack = self._life, self._stack
        if life is None or stack is None:
            return
        self._stack = None
        life.stopping = True
        try:
            await stack.aclose()
        finally:
            self._forget(life)
            await _end_all(life.tasks)

    def submit(self, coroutine: Coroutine[Any, Any, R]) -> "Future[R]":
        """Run `coroutine` on the loop once everything is open; starts a loop of its own when there is none."""
        life = self._ensure()
        result: Future[R] = Future()
        try:
            life.loop.call_soon_threadsafe(self._spawn, life, coroutine, result)
        except RuntimeError:
            coroutine.close()
            result.set_exception(ResonateShutdownError("the client was stopped"))
        return result

    def block(self, name: str, instead: str, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine and wait for it.

        Raises:
            RuntimeError: called where an event loop runs.
        """
        forbid_in_loop(name, instead)
        return self.submit(work()).result()

    async def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Await `coroutine` on the client's loop from whatever loop runs here."""
        life = self._life
        if life is not None and life.loop is asyncio.get_running_loop():
            if not life.opened.done():
                await asyncio.shield(life.opened)
            return await coroutine
        return await asyncio.wrap_future(self.submit(coroutine))

    @property
    def opened(self) -> T:
        """What is open. Only for coroutines that this runtime runs."""
        life = self._life
        if life is None:
            raise ResonateShutdownError("the client was stopped")
        return life.opened.result()

    def _ensure(self) -> _Life[T]:
        life = self._life
        if life is not None:
            return life
        with self._lock:
            if self._life is None:
                life = self._life = _Life[T](_new_loop())
                life.thread = threading.Thread(target=self._live, args=(life,), name=self._name, daemon=True)
                life.thread.start()
            return self._life

    def _live(self, life: _Life[T]) -> None:
        asyncio.set_event_loop(life.loop)
        try:
            life.loop.run_until_complete(self._scope(life))
        except Exception as error:  # noqa: BLE001  the thread's boundary: `started` and every caller got it already
            logger.debug("%s ended: %r", self._name, error)
        finally:
            self._forget(life)
            with contextlib.suppress(RuntimeError):
                life.loop.run_until_complete(_end_all(life.tasks))
                life.loop.run_until_complete(life.loop.shutdown_asyncgens())
            life.loop.close()

    async def _scope(self, life: _Life[T]) -> None:
        try:
            async with self._open_scope() as opened:
                life.opened.set_result(opened)
                life.started.set_result(None)
                await life.stop_wanted.wait()
                life.stopping = True
        except BaseException as error:
            self._fail_opening(life, error)
            raise

    def _fail_opening(self, life: _Life[T], error: BaseException) -> None:
        self._forget(life)
        if not life.opened.done():
            life.opened.set_exception(error)
            life.opened.exception()  # read: those who wait raise it themselves
        if not life.started.done():
            life.started.set_exception(error)

    def _begin_stop(self, life: _Life[T]) -> None:
        with contextlib.suppress(RuntimeError):
            life.loop.call_soon_threadsafe(life.stop_wanted.set)

    def _forget(self, life: _Life[T]) -> None:
        with self._lock:
            if self._life is life:
                self._life = None

    def _spawn(self, life: _Life[T], coroutine: Coroutine[Any, Any, R], result: "Future[R]") -> None:
        task = life.loop.create_task(self._settle(life, coroutine, result))
        life.tasks.add(task)
        task.add_done_callback(life.tasks.discard)

    async def _settle(self, life: _Life[T], coroutine: Coroutine[Any, Any, R], result: "Future[R]") -> None:
        if not result.set_running_or_notify_cancel():
            coroutine.close()
            return
        try:
            if not life.opened.done():
                await asyncio.shield(life.opened)
            elif life.opened.exception() is not None:
                await life.opened
            result.set_result(await coroutine)
        except asyncio.CancelledError:
            coroutine.close()
            result.set_exception(ResonateShutdownError("the client was stopped before this call was answered"))
            raise
        except BaseException as error:  # noqa: BLE001  handed over to the caller, in whatever thread it waits
            coroutine.close()
            result.set_exception(error)

    def _after_fork(self) -> None:
        """Threads do not survive a fork: the child starts anew, with a pid of its own."""
        self._lock = threading.Lock()
        self._life = None
        self._stack = None

    def _at_exit(self) -> None:
        life = self._life
        if life is None or life.thread is None:
            return
        deadline = time.monotonic() + EXIT_LIMIT_S
        if life.opened.done() and life.opened.exception() is None:
            with contextlib.suppress(Exception):  # leaving: whatever fails here ends with the process
                self.submit(self._hurry(life.opened.result())).result(EXIT_LIMIT_S)
        self.stop(max(0.0, deadline - time.monotonic()))


_ALL: "weakref.WeakSet[Runtime[Any]]" = weakref.WeakSet()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _end_all(tasks: set[asyncio.Task[Any]]) -> None:
    ending = [task for task in tasks if task is not asyncio.current_task()]
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _stop_all() -> None:
    for runtime in list(_ALL):
        runtime._at_exit()


def _forget_all() -> None:
    for runtime in list(_ALL):
        runtime._after_fork()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
