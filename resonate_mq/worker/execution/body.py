"""One function being run: its attempts, its retries, and what it must not end before (features B6, B7, D32, D36).

A body is the root function or a local call. How it is driven (thread, generator, asyncio task) is its driver's
business; what its end means is the engine's.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from resonate_mq.functions.commands import Command, Host, Promise
from resonate_mq.functions.context import Context, Info, Surroundings
from resonate_mq.functions.errors import ContextMisuseError, DecodeError, EncodeError, Evicted
from resonate_mq.functions.registry import Kind
from resonate_mq.functions.retry import Exponential, Never, PolicyOption, policy_for
from resonate_mq.functions.signatures import signature_of
from resonate_mq.worker.execution.drivers import AsyncDriver, Driver, GeneratorDriver, running_driver
from resonate_mq.worker.execution.port import Engine
from resonate_mq.worker.execution.step import Known, Step

log = logging.getLogger(__name__)

REFUSALS = 50  # context calls of a dropped body that raise
PARKED_FROM_S = 1.0  # a longer wait for a retry gives its slot to others; D36
_NEVER, _EXPONENTIAL = Never(), Exponential()
_FINAL = (EncodeError, DecodeError, ContextMisuseError)  # the next attempt would fail the same way


@dataclass(slots=True, kw_only=True)
class Work:
    """What a body runs.

    Attributes:
        inline: called as `func(*args)` on the loop; it never blocks.
        deadline_ms: of its promise, epoch ms; no retry is made that would start after it.
        retry_policy: None for the default of its kind (features B8).
    """

    promise_id: str
    func: Callable[..., Any]
    kind: Kind
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    deadline_ms: int
    tags: Mapping[str, str]
    inline: bool = False
    version: int = 1
    retry_policy: PolicyOption | None = None
    non_retryable: tuple[type[Exception], ...] = ()


class Body(Host):
    """The root function or one local call, over all its attempts.

    Attributes:
        id: of its promise and its contexts.
        step: the step it computes; None for the root.
        parent: body that called it; None for the root.
        attempt: from 1.
        open: steps it began that are not settled; it ends after them (structured concurrency).
        driver: of the running attempt.
        dead: evicted, or over.
    """

    def __init__(
        self,
        engine: Engine,
        surroundings: Surroundings,
        work: Work,
        *,
        step: Step | None = None,
        parent: "Body | None" = None,
    ) -> None:
        self.engine = engine
        self.id = work.promise_id
        self.work = work
        self.step = step
        self.parent = parent
        self.attempt = 0
        self.open: set[Step] = set()
        self.driver: Driver | None = None
        self.dead = False
        self.context: Context | None = None
        self._surroundings = surroundings
        self._result: tuple[Any, BaseException | None] = (None, None)
        self._closing = False
        self._refused: list[Step] = []
        self._own: list[Step] = []
        self._refusals = 0

    @property
    def deadline_ms(self) -> int:
        """Deadline of its promise."""
        return self.work.deadline_ms

    # -- what a context asks of its host

    def enter(self, call: str) -> None:
        """Raise where a context call cannot be made."""
        if self.dead:
            self._refuse()
        elif self.driver is None:
            name = getattr(self.work.func, "__name__", "this function")
            raise RuntimeError(
                f"{call} was called in {name!r}, a plain function, which cannot wait for it: make {name!r} a generator "
                f"(`value = yield {call}(...)`) or an async def (`value = await {call}(...)`)"
            )

    def wait(self, waitable: Command[Any] | Promise[Any]) -> "asyncio.Future[Any]":
        """Return the future an `await` in this body waits on."""
        if self.dead:
            self._refuse()
            return asyncio.get_running_loop().create_future()
        driver = running_driver()  # not always this body's: promises are passed on, contexts are closed over
        if driver is None or driver.engine is not self.engine:
            raise RuntimeError(f"await {waitable!r}: this body is a generator, write `yield` instead of `await`")
        return driver.wait(waitable)

    def _refuse(self) -> None:
        """Raise `Evicted`; give up on code that swallows it for ever, which then only gets what never happens."""
        self._refusals += 1
        if self._refusals <= REFUSALS:
            raise Evicted

    # -- attempts

    def start(self) -> None:
        """Run the next attempt, unless the lease is lost."""
        if self.dead or not self.engine.may_start(self.start):
            return
        self.attempt += 1
        self._closing = False
        self._forget_ephemeral()
        info = Info(self.attempt, self.id, self.work.tags, self.deadline_ms / 1000, self.work.version)
        self.context = Context(self.id, info, self, self._surroundings)
        self.engine.bodies.add(self)
        work, context = self.work, self.context
        if work.kind == "plain" and not work.inline:
            self.driver = None
            self.engine.active += 1
            call = partial(work.func, context, *work.args, **work.kwargs)
            self.engine.environment.threads.submit(partial(self._in_thread, call), self._returned)
            return
        try:
            made = work.func(*work.args) if work.inline else work.func(context, *work.args, **work.kwargs)
        except Exception as error:  # noqa: BLE001 - the boundary to user code
            self.ended(None, error)
            return
        self._drive(made)

    def _in_thread(self, call: Callable[[], Any]) -> Any:
        """Call the function; it may have waited for a thread until the lease was lost (D5)."""
        if self.dead or self.engine.session.is_lost():
            raise Evicted
        return call()

    def _returned(self, value: Any, error: BaseException | None) -> None:
        self.engine.active -= 1
        self.engine.schedule(self._go_on, value, error)
        self.engine.drain()

    def _go_on(self, value: Any, error: BaseException | None) -> None:
        if self.dead or (isinstance(error, Evicted) and self.engine.check_lost()):
            return  # the lease is lost: the execution notices by itself
        if error is not None:
            self.ended(None, error)
        else:
            self._drive(value)

    def _drive(self, made: Any) -> None:
        """Run what calling the function gave: a generator, a coroutine, or the value itself."""
        if inspect.isgenerator(made):
            driver = GeneratorDriver(self, self.engine, made)
            self.driver = driver
            driver.advance(None, None)
        elif inspect.iscoroutine(made):
            self.driver = AsyncDriver(self, self.engine, made)
        elif inspect.isasyncgen(made):
            self.ended(None, TypeError(f"{self.work.func!r} is an async generator: await inside an async def instead"))
        else:
            self.ended(made, None)

    def began(self, step: Step) -> None:
        """Note a step this body must not end before."""
        if not step.durable:
            self._own.append(step)
        if not step.settled and step not in self.open:
            self.open.add(step)
            step.enders.append(self._step_settled)

    def _step_settled(self, step: Step) -> None:
        self.open.discard(step)
        if step.outside is not None:
            self._refused.append(step)
        if self._closing and not self.open and not self.dead:
            self.engine.schedule(self._closed)

    def ended(self, value: Any, error: BaseException | None) -> None:
        """Take the end of an attempt; what it began is awaited first, in whatever way it ended."""
        if self.dead:
            return
        if isinstance(error, Evicted):  # not this body's: it would be dead
            error = ContextMisuseError("a context was used after its function had ended; each function has its own")
        elif isinstance(error, StopIteration | StopAsyncIteration):  # would end whatever it is thrown into
            error = RuntimeError(f"{self.work.func!r} raised {type(error).__name__}")
        assert self.context is not None
        forgotten = self.context.never_started()
        if forgotten:
            calls = ", ".join(map(repr, forgotten))
            log.warning("context calls were written but never yielded or awaited: %s", calls, extra={"id": self.id})
        self._result = (value, error)
        self._closing = True
        if not self.open:
            self._closed()

    @property
    def closing(self) -> bool:
        """Tell whether only steps that were begun are awaited now."""
        return self._closing

    def _closed(self) -> None:
        if self.dead:
            return
        value, error = self._result
        self._result = (None, None)
        self._closing = False
        unseen = [step for step in self._refused if not step.awaited]
        if error is None and unseen:
            error = unseen[0].outside  # begun, refused by the server and never looked at: not to be lost silently
        delay_s = None if error is None else self._retry_delay_s(error)
        if delay_s is not None:
            assert error is not None
            self._retry(error, delay_s)
            return
        self.dead = True
        self.engine.bodies.discard(self)
        self.engine.ended(self, value, error)

    # -- retries

    def _retry_delay_s(self, error: BaseException) -> float | None:
        if not isinstance(error, Exception) or isinstance(error, (*self.work.non_retryable, *_FINAL)):
            return None
        if isinstance(error, TypeError) and not self._binds():
            return None
        delay_s = self._next_delay_s()
        if delay_s is None or self.engine.environment.now_ms() + delay_s * 1000 > self.deadline_ms:
            return None
        return delay_s

    def _next_delay_s(self) -> float | None:
        if self.work.retry_policy is None:
            calls = self.context.calls if self.context is not None else 0
            # an async def is a leaf until it makes a durable call, then it is a workflow (D32)
            workflow = isinstance(self.driver, GeneratorDriver) or calls > 0
            return (_NEVER if workflow else _EXPONENTIAL).next(self.attempt)
        try:
            return policy_for(self.work.retry_policy, self.work.func).next(self.attempt)
        except Exception:  # the boundary to a policy of the user's own
            log.exception("retry policy failed, no retry", extra={"id": self.id})
            return None

    def _binds(self) -> bool:
        signature = signature_of(self.work.func).inspected
        try:
            if signature is not None and not self.work.inline:
                signature.bind(None, *self.work.args, **self.work.kwargs)
        except TypeError:
            return False
        return True

    def _retry(self, error: BaseException, delay_s: float) -> None:
        name = getattr(self.work.func, "__name__", "function")
        if self.attempt == 1:
            log.warning(
                "%s failed, retrying in %s s; stop with .options(retry_policy=Never())",
                name,
                delay_s,
                exc_info=error,
                extra={"id": self.id, "attempt": self.attempt},
            )
        if self.step is not None:
            self.engine.show(self.step)  # a retrying step is visible as pending; D9
        self.driver = None
        parked = delay_s >= PARKED_FROM_S
        self.engine.retrying(parked=parked, by=1)
        asyncio.get_running_loop().call_later(delay_s, self._again, parked)

    def _again(self, parked: bool) -> None:
        self.engine.retrying(parked=parked, by=-1)
        self.engine.schedule(self.start)
        self.engine.drain()

    def _forget_ephemeral(self) -> None:
        for step in self._own:
            self.engine.forget(step)
        self._own.clear()

    # -- durability

    def ensure_created(self) -> None:
        """Queue the creation of this body's promise, and of those around it, before its first durable step."""
        missing: list[Step] = []
        body: Body | None = self
        while body is not None and body.step is not None and body.step.known is Known.NO:
            missing.append(body.step)
            body = body.parent
        for step in reversed(missing):  # the outermost first
            self.engine.show(step)

    # -- the end

    def evict(self) -> None:
        """Drop this body: nothing it does any more has an effect (D33)."""
        if self.dead:
            return
        self.dead = True
        self.engine.bodies.discard(self)
        if self.driver is not None:
            self.driver.evict()
