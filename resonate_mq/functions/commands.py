"""What a body yields or awaits: context calls that were not started yet, and the promises they give (features B6, D32).

A command is lazy: its id is fixed where it is written, it starts where it is yielded or awaited. What starts it is
a `Host`, given to its context; nothing here knows how bodies are run.
"""

import asyncio
from collections.abc import Callable, Generator
from datetime import timedelta
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from resonate_mq.functions.codec import Encoder
from resonate_mq.functions.options import LOCAL_KEYS, NONE, REMOTE_KEYS
from resonate_mq.functions.retry import PolicyOption

T = TypeVar("T", covariant=True)

RUN, RPC, DETACHED, PROMISE, SLEEP = "run", "rpc", "detached", "promise", "sleep"
"""Values of the tag `resonate-mq:kind` (D11)."""


class Host(Protocol):
    """What runs the body a context belongs to."""

    def enter(self, call: str) -> None:
        """Raise if `call` (for example `ctx.run`) may not be made now: `Evicted`, or a plain function's context."""
        ...

    def wait(self, waitable: "Command[Any] | Promise[Any]") -> "asyncio.Future[Any]":
        """Start a command, or find a promise; the future gets what yielding it would give."""
        ...


class Command(Generic[T]):
    """One context call.

    Attributes:
        id: of its promise: the option `id`, else `<ctx.id>.<n>`.
        number: n, from 1 in each context; consumed even by a call that is never yielded.
        kind: value of the tag `resonate-mq:kind`.
        label: name of the function, value of the tag `resonate-mq:func`.
        begins: yielding it gives a `Promise` rather than the value.
    """

    __slots__ = ("args", "func", "generated_id", "host", "inline", "kind", "kwargs", "label", "number", "opts")

    begins: ClassVar[bool] = False
    local: ClassVar[bool] = False

    def __init__(
        self,
        host: Host,
        number: int,
        generated_id: str,
        kind: str,
        func: Callable[..., Any] | None,
        label: str,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.host = host
        self.number = number
        self.generated_id = generated_id
        self.kind = kind
        self.func = func
        self.label = label
        self.args = args
        self.kwargs = {} if kwargs is None else kwargs
        self.opts = NONE
        self.inline = False

    @property
    def id(self) -> str:
        """Id of the promise this call stands for."""
        return self.opts.id or self.generated_id

    def __repr__(self) -> str:
        return f"ctx.{self.kind}({self.label}) [{self.id}]"


class _Awaitable(Command[T]):
    __slots__ = ()

    def __await__(self) -> Generator[Any, None, T]:
        """Start the call; gives its value."""
        result: T = yield from self.host.wait(self).__await__()
        return result


class _Beginning(Command[T]):
    __slots__ = ()

    begins = True

    def __await__(self) -> "Generator[Any, None, Promise[T]]":
        """Start the call; gives its promise."""
        result: Promise[T] = yield from self.host.wait(self).__await__()
        return result


class _Local(Command[T]):
    __slots__ = ()

    local = True

    def options(
        self,
        *,
        durable: bool | None = None,
        encoder: Encoder | None = None,
        id: str | None = None,
        idempotency_key: str | Callable[[str], str] | None = None,
        non_retryable_exceptions: tuple[type[Exception], ...] | None = None,
        retry_policy: PolicyOption | None = None,
        tags: dict[str, str] | None = None,
        timeout: float | timedelta | None = None,
        **unknown: Any,
    ) -> Self:
        """Set options of this call and return it; `timeout` in seconds or a timedelta.

        Raises:
            TypeError: an option local calls do not take, such as `target`, or a value of the wrong type.
        """
        self.opts = self.opts.merge(
            LOCAL_KEYS,
            f"ctx.{self.kind}",
            durable=durable,
            encoder=encoder,
            id=id,
            idempotency_key=idempotency_key,
            non_retryable_exceptions=non_retryable_exceptions,
            retry_policy=retry_policy,
            tags=tags,
            timeout=timeout,
            **unknown,
        )
        return self


class _Remote(Command[T]):
    __slots__ = ()

    def options(
        self,
        *,
        encoder: Encoder | None = None,
        id: str | None = None,
        idempotency_key: str | Callable[[str], str] | None = None,
        tags: dict[str, str] | None = None,
        target: str | None = None,
        timeout: float | timedelta | None = None,
        version: int | None = None,
        **unknown: Any,
    ) -> Self:
        """Set options of this call and return it; `timeout` in seconds or a timedelta.

        Raises:
            TypeError: an option remote calls do not take, such as `retry_policy`, or a value of the wrong type.
        """
        self.opts = self.opts.merge(
            REMOTE_KEYS,
            f"ctx.{self.kind}",
            encoder=encoder,
            id=id,
            idempotency_key=idempotency_key,
            tags=tags,
            target=target,
            timeout=timeout,
            version=version,
            **unknown,
        )
        return self


class LFC(_Local[T], _Awaitable[T]):
    """Local function call: run here, give the value."""

    __slots__ = ()


class LFI(_Local[T], _Beginning[T]):
    """Local function invocation: run here, give a promise at once."""

    __slots__ = ()


class RFC(_Remote[T], _Awaitable[T]):
    """Remote function call: run anywhere in the target group, give the value."""

    __slots__ = ()


class RFI(_Remote[T], _Beginning[T]):
    """Remote function invocation: run anywhere in the target group, give a promise at once."""

    __slots__ = ()


class PromiseCommand(RFI[T]):
    """Get or create a promise nobody runs; its one argument is the param data. An option `timeout=0` is ignored."""

    __slots__ = ()


class Detached(RFI[T]):
    """Start a call that nobody waits for and that outlives its caller."""

    __slots__ = ()


class Sleep(RFC[T]):
    """Wait; its one argument is seconds. Of the options only `id` has an effect."""

    __slots__ = ()


class Promise(Generic[T]):
    """A durable value that may not be there yet; `yield p` or `await p` gives it, any number of times.

    Attributes:
        id: of the durable promise.
        cid: id of the computation it belongs to; it can be awaited only there.
    """

    __slots__ = ("_host", "cid", "id")

    def __init__(self, id: str, cid: str, host: Host) -> None:
        self.id = id
        self.cid = cid
        self._host = host

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the value; raises what the call raised."""
        result: T = yield from self._host.wait(self).__await__()
        return result

    def result(self) -> T:
        """Refuse: a body must not block.

        Raises:
            RuntimeError: always; it names the two forms that work.
        """
        raise RuntimeError(
            f"promise {self.id!r}: a durable function must not block on .result(); write `value = yield promise` in a "
            "generator, `value = await promise` in an async def"
        )

    def __repr__(self) -> str:
        return f"Promise({self.id!r})"


Yieldable = LFC[Any] | LFI[Any] | RFC[Any] | RFI[Any] | Promise[Any]
"""What a generator body may yield."""
