"""How a body's code is driven: a generator by sending into it, an async def as an asyncio task (D32, D33).

Both give the same meaning to `yield command` and `await command`. A generator is driven by calls, without a task or
a future: that is what a step costs most.
"""

import asyncio
import inspect
import threading
from collections.abc import Coroutine, Generator
from contextvars import ContextVar, copy_context
from types import FrameType
from typing import Any, Protocol

from resonate_mq.functions.commands import Command, Promise
from resonate_mq.functions.errors import Evicted
from resonate_mq.worker.execution.port import Engine, Stopped
from resonate_mq.worker.execution.step import Known, Step

WIDE = 32  # awaits of a gather that are worth being awaited one after another; narrow ones fail as fast as they can
TURN = 200  # steps answered from memory before other tasks of the loop get their turn
TEARDOWN_LIMIT = 50  # yields of a body that is being dropped


_RUNNING: ContextVar["AsyncDriver"] = ContextVar("resonate_mq_running_body")


def running_driver() -> "AsyncDriver | None":
    """Return the driver of the async body this code runs in; tasks it makes (`asyncio.gather`) belong to it."""
    return _RUNNING.get(None)


class Owner(Protocol):
    """The body a driver belongs to."""

    dead: bool

    def ended(self, value: Any, error: BaseException | None) -> None:
        """Take the end of the attempt."""
        ...


class Driver(Protocol):
    """Runs one attempt of a generator or coroutine."""

    def waiting_for(self) -> list[Step]:
        """Return the unsettled steps it waits for."""
        ...

    def where(self) -> str:
        """Return `file:line` of the user's code that is running or waiting."""
        ...

    def evict(self) -> None:
        """End the code with `Evicted`; nothing it does has an effect."""
        ...


class GeneratorDriver:
    """Drives a generator; helpers used by `yield from` are part of it."""

    __slots__ = ("_engine", "_generator", "_owner", "_waiting", "_wants_promise")

    def __init__(self, owner: Owner, engine: Engine, generator: Generator[Any, Any, Any]) -> None:
        self._owner = owner
        self._engine = engine
        self._generator = generator
        self._waiting: Step | None = None
        self._wants_promise = False

    def advance(self, value: Any, error: BaseException | None) -> None:
        """Send into the generator until it waits for something or ends."""
        generator, engine, owner = self._generator, self._engine, self._owner
        turn = TURN
        while True:
            try:
                yielded = generator.send(value) if error is None else generator.throw(error)
            except StopIteration as stop:
                owner.ended(stop.value, None)
                return
            except BaseException as raised:
                if _ends_process(raised):
                    raise
                owner.ended(None, raised)
                return
            value = error = None
            try:
                step, wants_promise = engine.find(owner, yielded)
            except Stopped:
                return
            except Exception as refused:  # noqa: BLE001 - thrown at the very yield that asked for it
                error = refused
                continue
            if wants_promise:
                if step.kind == "promise" and step.known is not Known.YES and not step.settled:
                    self._wait(step, wants_promise=True)
                    return
                value = engine.promise_of(step, owner)
            elif step.settled:
                value, error = step.outcome()
            else:
                self._wait(step, wants_promise=False)
                return
            turn -= 1
            if not turn:
                asyncio.get_running_loop().call_soon(self._continue, value, error)
                engine.active += 1
                return

    def _continue(self, value: Any, error: BaseException | None) -> None:
        self._engine.active -= 1
        if not self._owner.dead and not self._engine.stopped:
            self._engine.schedule(self.advance, value, error)
        self._engine.drain()

    def _wait(self, step: Step, *, wants_promise: bool) -> None:
        self._waiting = step
        self._wants_promise = wants_promise
        (step.created_waiters if wants_promise else step.waiters).append(self._wake)

    def _wake(self, step: Step) -> None:
        self._engine.schedule(self._resume, step)

    def _resume(self, step: Step) -> None:
        if self._owner.dead or self._waiting is not step or self._engine.stopped:
            return
        self._waiting = None
        if self._wants_promise:
            self.advance(self._engine.promise_of(step, self._owner), None)
        else:
            self.advance(*step.outcome())

    def waiting_for(self) -> list[Step]:
        """Return the one step it waits for."""
        return [] if self._waiting is None or self._wants_promise else [self._waiting]

    def where(self) -> str:
        """Return `file:line` of the innermost frame of the generator."""
        inner: Any = self._generator
        while getattr(inner, "gi_yieldfrom", None) is not None and hasattr(inner.gi_yieldfrom, "gi_frame"):
            inner = inner.gi_yieldfrom
        return _place(inner.gi_frame)

    def evict(self) -> None:
        """Throw `Evicted`, again at each yield of a `finally` or a bare `except`."""
        generator = self._generator
        if inspect.getgeneratorstate(generator) == inspect.GEN_RUNNING:
            return  # it is on the stack: the command that got us here ends it
        for _ in range(TEARDOWN_LIMIT):
            try:
                generator.throw(Evicted())
            except (StopIteration, Evicted):
                return
            except BaseException:  # noqa: BLE001 - clean-up code of the user; there is nobody to tell
                return


class AsyncDriver:
    """Runs a coroutine as an asyncio task; each `await` of a command waits on a real future."""

    __slots__ = ("_coroutine", "_outstanding", "_over", "_owner", "_stuck", "engine", "task")

    def __init__(self, owner: Owner, engine: Engine, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._owner = owner
        self.engine = engine
        self._outstanding: set[_Wait] = set()
        self._over = False
        self._stuck: list[asyncio.Future[Any]] = []
        engine.active += 1
        context = copy_context()
        context.run(_RUNNING.set, self)
        self._coroutine = coroutine
        self.task = asyncio.get_running_loop().create_task(_contained(coroutine), context=context)
        self.task.add_done_callback(self._done)

    def wait(self, waitable: Command[Any] | Promise[Any]) -> "asyncio.Future[Any]":
        """Return the future of what yielding `waitable` would give."""
        engine = self.engine
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            step, wants_promise = engine.find(self._owner, waitable)
        except Stopped:
            self._stuck.append(future)  # the execution is over, this body is about to be evicted
            return future
        if wants_promise:
            if step.kind == "promise" and step.known is not Known.YES and not step.settled:
                self._add(_Wait(self, step, future, wants_promise=True))
            else:
                future.set_result(engine.promise_of(step, self._owner))
        elif step.settled:
            _fill(future, *step.outcome())
        else:
            self._add(_Wait(self, step, future, wants_promise=False))
        engine.drain()
        return future

    def _add(self, wait: "_Wait") -> None:
        if not self._outstanding and not self._over:
            self.engine.active -= 1
        self._outstanding.add(wait)

    def released(self, wait: "_Wait") -> None:
        """Note that a future was filled or given up."""
        if wait in self._outstanding:
            self._outstanding.discard(wait)
            if not self._outstanding and not self._over:
                self.engine.active += 1
            self.engine.woke()

    def promise_for(self, step: Step) -> Promise[Any]:
        """Return the promise of a step in this body."""
        return self.engine.promise_of(step, self._owner)

    def _done(self, task: "asyncio.Task[Any]") -> None:
        if not self._outstanding:
            self.engine.active -= 1
        self._over = True
        self._coroutine.close()  # canceled before its first line, it would complain that nobody awaited it
        value: Any = None
        error: BaseException | None = None
        if task.cancelled():
            error = asyncio.CancelledError()
        elif (error := task.exception()) is None:
            value, error = task.result()
        if not self._owner.dead and not self.engine.stopped:
            self.engine.schedule(self._owner.ended, value, error)
        self.engine.woke()
        self.engine.drain()

    def waiting_for(self) -> list[Step]:
        """Return every step an outstanding await waits for, one of them where a wide `asyncio.gather` wants all."""
        steps = [wait.step for wait in self._outstanding if not wait.wants_promise]
        if len(steps) > WIDE and self._gathers_all():
            return next(([step] for step in steps if step.remote and not step.settled), steps)
        return steps

    def _gathers_all(self) -> bool:
        """Tell whether the task waits for an `asyncio.gather` of everything outstanding.

        Looks at what asyncio keeps for its debuggers; where it is not found, the awaits count as any-of, which is
        only slower: each settlement of a wide set then costs a resume that names all the others again (D10).
        """
        gathering = getattr(self.task, "_fut_waiter", None)
        children = getattr(gathering, "_children", None)
        if not isinstance(children, list):
            return False
        awaited = {id(getattr(child, "_fut_waiter", child)) for child in children}
        return all(id(wait.future) in awaited for wait in self._outstanding)

    def where(self) -> str:
        """Return `file:line` of the body where the task is, or of the running code that asks."""
        return _place(getattr(self._coroutine, "cr_frame", None))

    def evict(self) -> None:
        """Fail every future with `Evicted`; what waits for something else is cancelled."""
        futures = [wait.future for wait in self._outstanding] + self._stuck
        for future in futures:
            if not future.done():
                future.set_exception(Evicted())
                future.exception()  # nobody may be left to retrieve it
        if not futures:
            self.task.cancel()


class _Wait:
    """One `await` of a step."""

    __slots__ = ("driver", "future", "step", "wants_promise")

    def __init__(self, driver: AsyncDriver, step: Step, future: "asyncio.Future[Any]", *, wants_promise: bool) -> None:
        self.driver = driver
        self.step = step
        self.future = future
        self.wants_promise = wants_promise
        future.add_done_callback(self._given_up)
        (step.created_waiters if wants_promise else step.waiters).append(self._wake)

    def _wake(self, step: Step) -> None:
        if self.future.done():
            return
        if self.wants_promise:
            self.future.set_result(self.driver.promise_for(step))
        else:
            _fill(self.future, *step.outcome())
        self.driver.released(self)  # now, not when the loop calls back: until then the body would look idle

    def _given_up(self, future: "asyncio.Future[Any]") -> None:
        self.driver.released(self)


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """Return (value, None), or (None, error) for the errors by which a task would end the whole loop."""
    try:
        return await coroutine, None
    except (SystemExit, KeyboardInterrupt) as error:
        if _ends_process(error):
            raise
        return None, error


def _ends_process(error: BaseException) -> bool:
    """Tell whether this is ctrl-C, which only the main thread gets; a function must not end its worker."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def _fill(future: "asyncio.Future[Any]", value: Any, error: Exception | None) -> None:
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def _place(frame: FrameType | None) -> str:
    return "an unknown line" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
