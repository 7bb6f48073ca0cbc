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
from functools import partial
from typing import Any, Generic, TypeVar

from resonate_mq.errors import ResonateShutdownError

T = TypeVar("T")
R = TypeVar("R")

EXIT_LIMIT_S = 2.0  # an interpreter that ends waits this long for leases to be given back (D37)
STOP_LIMIT_S = 30.0  # a stop that is asked for lets what runs come to an end, then goes on without it

logger = logging.getLogger(__name__)


class _Work:
    """A coroutine on its way from another thread, and who is told if the loop ends before it began."""

    __slots__ = ("coroutine", "lost")

    def __init__(self, coroutine: Coroutine[Any, Any, None], lost: Callable[[BaseException], None]) -> None:
        self.coroutine = coroutine
        self.lost = lost


class _Life(Generic[T]):
    """One start until its stop: a loop and what was opened on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.thread: threading.Thread | None = None
        self.opened: asyncio.Future[T] = loop.create_future()
        self.started: Future[None] = Future()
        self.stop_wanted = asyncio.Event()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.handed_over: set[_Work] = set()


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
        self._lives: dict[asyncio.AbstractEventLoop, _Life[T]] = {}  # the current one, and a dying one before it
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
            self._lives[life.loop] = life
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
        life.stop_wanted.set()
        try:
            await stack.aclose()
        finally:
            self._forget(life)
            await _end_all(life.tasks)
            self._lives.pop(life.loop, None)
            _lose(life)

    def spawn(self, coroutine: Coroutine[Any, Any, None], lost: Callable[[BaseException], None]) -> None:
        """Run a coroutine on the loop; starts a loop of its own when there is none.

        Args:
            coroutine: takes care of its own errors, and begins with `await runtime.ready()`.
            lost: told why when the loop ended before the coroutine did; may be told what it knows already.
        """
        life = self._ensure()
        work = _Work(coroutine, lost)
        if asyncio._get_running_loop() is life.loop:
            self._begin(life, work)
            return
        life.handed_over.add(work)
        try:
            life.loop.call_soon_threadsafe(self._take_over, life, work)
        except RuntimeError:  # the loop was closed between the two lines
            _lose(life)

    def submit(self, coroutine: Coroutine[Any, Any, R]) -> "Future[R]":
        """Run a coroutine on the loop once everything is open, and give its result to any thread."""
        result: Future[R] = Future()

        def lost(error: BaseException) -> None:
            coroutine.close()
            if not result.done():
                result.set_exception(error)

        self.spawn(self._settle(coroutine, result), lost)
        return result

    async def ready(self) -> T:
        """Return what is open, once it is. Only for coroutines that this runtime runs.

        Raises:
            Exception: whatever opening raised.
        """
        life = self._lives.get(asyncio.get_running_loop())
        if life is None:
            raise ResonateShutdownError("the client was stopped")
        if life.opened.done():
            return life.opened.result()
        return await asyncio.shield(life.opened)

    @property
    def is_stopping(self) -> bool:
        """Tell whether what is open here is being closed. Only for coroutines that this runtime runs."""
        life = self._lives.get(asyncio.get_running_loop())
        return life is None or life.stop_wanted.is_set()

    async def run(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Await `coroutine` on the client's loop from whatever loop runs here."""
        life = self._life
        if life is not None and life.loop is asyncio.get_running_loop():
            await self.ready()
            return await coroutine
        return await asyncio.wrap_future(self.submit(coroutine))

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop everything runs on, None when nothing runs."""
        return None if self._life is None else self._life.loop

    @property
    def opened(self) -> T:
        """What is open, for looking at it.

        Raises:
            ResonateShutdownError: nothing is.
        """
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
                life = self._life = _Life[T](new_loop())
                self._lives[life.loop] = life
                life.thread = threading.Thread(target=self._live, args=(life,), name=self._name, daemon=True)
                life.thread.start()
            return self._life

    def _live(self, life: _Life[T]) -> None:
        asyncio.set_event_loop(life.loop)
        try:
            self._run(life)
        except Exception as error:
            if life.opened.done() and life.opened.exception() is None:
                logger.error("%s ended by an error; the next call starts it again", self._name, exc_info=error)
        finally:
            # those who wait for the opening hear why it failed before they are ended
            with contextlib.suppress(RuntimeError):
                life.loop.run_until_complete(_end_all(life.tasks))
                life.loop.run_until_complete(_end_all(asyncio.all_tasks(life.loop)))  # the loop is ours alone
                life.loop.run_until_complete(life.loop.shutdown_asyncgens())
            self._forget(life)
            while life.tasks:  # handed over by other threads in the meantime
                life.loop.run_until_complete(_end_all(life.tasks))
            self._lives.pop(life.loop, None)
            life.loop.close()
            _lose(life)

    def _run(self, life: _Life[T]) -> None:
        scope = life.loop.create_task(self._scope(life))
        while not scope.done():
            try:
                life.loop.run_until_complete(scope)
            except (SystemExit, KeyboardInterrupt) as error:
                if scope.done():
                    raise
                # asyncio lets any task end the loop by these, and users make tasks; it has its error, we go on
                logger.error("%s was raised in a task of %s", type(error).__name__, self._name, exc_info=error)

    async def _scope(self, life: _Life[T]) -> None:
        try:
            async with self._open_scope() as opened:
                life.opened.set_result(opened)
                life.started.set_result(None)
                await life.stop_wanted.wait()
        except BaseException as error:
            self._fail_opening(life, error)
            raise

    def _fail_opening(self, life: _Life[T], error: BaseException) -> None:
        self._forget(life)  # the next call tries again
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

    def _take_over(self, life: _Life[T], work: _Work) -> None:
        life.handed_over.discard(work)
        self._begin(life, work)

    def _begin(self, life: _Life[T], work: _Work) -> None:
        task = life.loop.create_task(work.coroutine)
        life.tasks.add(task)
        task.add_done_callback(partial(self._ended, life, work))

    def _ended(self, life: _Life[T], work: _Work, task: asyncio.Task[None]) -> None:
        life.tasks.discard(task)
        if task.cancelled():  # perhaps before its first step, and then it has told nobody
            work.lost(ResonateShutdownError("the client was stopped"))

    async def _settle(self, coroutine: Coroutine[Any, Any, R], result: "Future[R]") -> None:
        if not result.set_running_or_notify_cancel():
            coroutine.close()
            return
        try:
            await self.ready()
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
        self._lives = {}
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


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a fresh event loop, uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _lose(life: _Life[Any]) -> None:
    """Tell those whose coroutine never began."""
    while life.handed_over:
        try:
            work = life.handed_over.pop()
        except KeyError:  # another thread tells it
            return
        work.coroutine.close()
        work.lost(ResonateShutdownError("the client was stopped"))


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
