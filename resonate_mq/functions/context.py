"""`Context`, the first parameter of every durable function (features B6). Knows no worker: calls become commands."""

from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, overload

from resonate_mq.functions.commands import (
    DETACHED,
    LFC,
    LFI,
    PROMISE,
    RFC,
    RFI,
    RPC,
    RUN,
    SLEEP,
    Command,
    Detached,
    Host,
    Promise,
    PromiseCommand,
    Sleep,
)
from resonate_mq.functions.logger import ContextLogger
from resonate_mq.functions.options import REMOTE_KEYS, writable
from resonate_mq.functions.registry import DurableFunction, Registry, name_of, unwrap
from resonate_mq.functions.sources import Random, Time
from resonate_mq.protocol.ids import child_id, detached_id

P = ParamSpec("P")
R = TypeVar("R")
_C = TypeVar("_C", bound=Command[Any])

_Gen = Callable[Concatenate[Any, P], Generator[Any, Any, R]]
_Async = Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]
_Plain = Callable[Concatenate[Any, P], R]


class Info(NamedTuple):
    """Facts of the running attempt.

    Attributes:
        attempt: from 1.
        idempotency_key: key of the promise, which is its id.
        tags: of the promise.
        timeout: its deadline, epoch seconds.
        version: of the function.
    """

    attempt: int
    idempotency_key: str
    tags: Mapping[str, str]
    timeout: float
    version: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What contexts of one execution share."""

    root_id: str
    prefix: str
    registry: Registry
    dependencies: Mapping[str, Any]
    log_level: int


class Context:
    """The durable world as one function sees it. Made by the worker; one for each attempt.

    Attributes:
        id: durable promise id of this execution.
        info: attempt, deadline, tags and version.
        calls: context calls made so far.
    """

    def __init__(self, promise_id: str, info: Info, host: Host, surroundings: Surroundings) -> None:
        self.id = promise_id
        self.info = info
        self._host = host
        self._surroundings = surroundings
        self.calls = 0
        self._waiting: dict[int, Command[Any]] = {}

    # -- calls in this process

    @overload
    def run(self, func: DurableFunction[P, R], /, *args: P.args, **kwargs: P.kwargs) -> LFC[R]: ...
    @overload
    def run(self, func: _Gen[P, R], /, *args: P.args, **kwargs: P.kwargs) -> LFC[R]: ...
    @overload
    def run(self, func: _Async[P, R], /, *args: P.args, **kwargs: P.kwargs) -> LFC[R]: ...
    @overload
    def run(self, func: _Plain[P, R], /, *args: P.args, **kwargs: P.kwargs) -> LFC[R]: ...
    def run(self, func: Any, /, *args: Any, **kwargs: Any) -> LFC[Any]:
        """Call `func(ctx, *args, **kwargs)` in this process; its value is recorded and given.

        Raises:
            ValueError: `func` is not callable; remote functions are called with `ctx.rpc`.
        """
        return self._add(LFC(self._host, *self._local("ctx.run", func), args, kwargs))

    @overload
    def begin_run(self, func: DurableFunction[P, R], /, *args: P.args, **kwargs: P.kwargs) -> LFI[R]: ...
    @overload
    def begin_run(self, func: _Gen[P, R], /, *args: P.args, **kwargs: P.kwargs) -> LFI[R]: ...
    @overload
    def begin_run(self, func: _Async[P, R], /, *args: P.args, **kwargs: P.kwargs) -> LFI[R]: ...
    @overload
    def begin_run(self, func: _Plain[P, R], /, *args: P.args, **kwargs: P.kwargs) -> LFI[R]: ...
    def begin_run(self, func: Any, /, *args: Any, **kwargs: Any) -> LFI[Any]:
        """Start `func(ctx, *args, **kwargs)` in this process; gives a promise at once."""
        return self._add(LFI(self._host, *self._local("ctx.begin_run", func), args, kwargs))

    lfc = run
    lfi = begin_run

    # -- calls in any process of a group

    @overload
    def rpc(self, func: DurableFunction[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RFC[R]: ...
    @overload
    def rpc(self, func: _Gen[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RFC[R]: ...
    @overload
    def rpc(self, func: _Async[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RFC[R]: ...
    @overload
    def rpc(self, func: _Plain[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RFC[R]: ...
    @overload
    def rpc(self, func: str, /, *args: Any, **kwargs: Any) -> RFC[Any]: ...
    def rpc(self, func: Any, /, *args: Any, **kwargs: Any) -> RFC[Any]:
        """Call a registered function in the target group (default: this one) and give its value.

        Raises:
            ValueError: a function object that is not registered here; names may be unknown here.
        """
        return self._add(RFC(self._host, *self._remote("ctx.rpc", func, RPC), args, kwargs))

    @overload
    def begin_rpc(self, func: DurableFunction[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RFI[R]: ...
    @overload
    def begin_rpc(self, func: _Gen[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RFI[R]: ...
    @overload
    def begin_rpc(self, func: _Async[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RFI[R]: ...
    @overload
    def begin_rpc(self, func: _Plain[P, R], /, *args: P.args, **kwargs: P.kwargs) -> RFI[R]: ...
    @overload
    def begin_rpc(self, func: str, /, *args: Any, **kwargs: Any) -> RFI[Any]: ...
    def begin_rpc(self, func: Any, /, *args: Any, **kwargs: Any) -> RFI[Any]:
        """Start a registered function in the target group; gives a promise at once."""
        return self._add(RFI(self._host, *self._remote("ctx.begin_rpc", func, RPC), args, kwargs))

    rfc = rpc
    rfi = begin_rpc

    def detached(self, func: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Detached[Any]:
        """Start a registered function nobody waits for; its deadline is its own, not clipped to this one's."""
        return self._add(Detached(self._host, *self._remote("ctx.detached", func, DETACHED), args, kwargs))

    # -- promises, time, chance

    def promise(
        self,
        *,
        id: str | None = None,
        timeout: float | timedelta | None = None,
        idempotency_key: str | None = None,
        data: Any = None,
        tags: dict[str, str] | None = None,
    ) -> PromiseCommand[Any]:
        """Get or create a promise that somebody else settles; gives it once it exists.

        Args:
            id: default `<ctx.id>.<n>`.
            timeout: seconds; default one year, at most what this execution has left.
            idempotency_key: accepted; the key of a promise made here is its id.
            data: param of the promise, any serialisable value.
            tags: of the promise.
        """
        number, generated_id = self._next("ctx.promise")
        command: PromiseCommand[Any] = PromiseCommand(
            self._host, number, generated_id, PROMISE, None, "", () if data is None else (data,)
        )
        given = {"id": id, "timeout": timeout, "idempotency_key": idempotency_key, "tags": tags}
        command.opts = command.opts.merge(REMOTE_KEYS, "ctx.promise", **given)
        return self._add(command)

    def sleep(self, secs: float | timedelta) -> Sleep[None]:
        """Wait durably: the clock goes on while no process runs. Zero and negative return at once.

        Raises:
            TypeError: neither a number of seconds nor a timedelta.
        """
        if isinstance(secs, timedelta):
            secs = secs.total_seconds()
        if isinstance(secs, bool) or not isinstance(secs, int | float) or secs != secs:
            raise TypeError(f"secs must be `float`, got {type(secs).__name__}")
        number, generated_id = self._next("ctx.sleep")
        return self._add(Sleep(self._host, number, generated_id, SLEEP, None, "", (max(0.0, float(secs)),)))

    @property
    def random(self) -> Random:
        """Random values that are the same on every replay."""
        return Random(self)

    @property
    def time(self) -> Time:
        """The clock, the same on every replay."""
        return Time(self)

    def step(self, label: str, func: Callable[..., Any], *args: Any) -> LFC[Any]:
        """Return a call of `func(*args)` recorded as `label`; it runs on the loop and must not block."""
        number, generated_id = self._next(f"ctx.{label}")
        command: LFC[Any] = LFC(self._host, number, generated_id, RUN, func, label, args)
        command.inline = True
        return self._add(command)

    # -- plain calls

    def get_dependency(self, key: str, default: Any = None) -> Any:
        """Return the object `set_dependency` was given in this process, or `default`."""
        if not isinstance(key, str):
            raise TypeError(f"key must be `str`, got {type(key).__name__}")
        return self._surroundings.dependencies.get(key, default)

    @property
    def logger(self) -> ContextLogger:
        """A logger whose lines carry the root id and this id."""
        return ContextLogger(self._surroundings.root_id, self.id, self._surroundings.log_level)

    @overload
    def typesafe(self, cmd: LFI[R] | RFI[R]) -> Generator[Any, Any, Promise[R]]: ...
    @overload
    def typesafe(self, cmd: LFC[R] | RFC[R] | Promise[R]) -> Generator[Any, Any, R]: ...
    def typesafe(self, cmd: Any) -> Generator[Any, Any, Any]:
        """`v = yield from ctx.typesafe(cmd)` is `v = yield cmd` with the type of the callee's result."""
        return (yield cmd)

    # -- numbering

    def _next(self, call: str) -> tuple[int, str]:
        self._host.enter(call)
        self.calls = number = self.calls + 1
        return number, child_id(self.id, number, self._surroundings.prefix)

    def _local(self, call: str, func: Any) -> tuple[int, str, str, Callable[..., Any], str]:
        func = unwrap(func)
        if not callable(func):
            raise ValueError(f"{call}: provided callable must be a function, got {func!r}; a name is called by ctx.rpc")
        number, generated_id = self._next(call)
        return number, generated_id, RUN, func, name_of(func)

    def _remote(self, call: str, func: Any, kind: str) -> tuple[int, str, str, Callable[..., Any] | None, str]:
        plain: Callable[..., Any] | None = None
        if isinstance(func, str):
            label = writable("function name", func)
        elif callable(func):
            plain = unwrap(func)
            label = self._surroundings.registry.get(plain).name
        else:
            raise ValueError(f"{call}: expected a registered function or its name, got {func!r}")
        number, generated_id = self._next(call)
        if kind == DETACHED:
            generated_id = detached_id(self.id, number, self._surroundings.prefix)
        return number, generated_id, kind, plain, label

    def _add(self, command: _C) -> _C:
        self._waiting[command.number] = command
        return command

    def note_start(self, command: Command[Any]) -> None:
        """Note that a command of this context was yielded or awaited."""
        self._waiting.pop(command.number, None)

    def never_started(self) -> list[Command[Any]]:
        """Return the calls that were written and neither yielded nor awaited."""
        return list(self._waiting.values())
