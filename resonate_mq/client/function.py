"""A registered function: still the function, and the way to call it durably (B2, B3, D31)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Generic, ParamSpec, TypeVar

from resonate_mq.client.handle import Handle
from resonate_mq.client.invocations import Invocations
from resonate_mq.functions.codec import Encoder
from resonate_mq.functions.options import CLIENT_KEYS, Options
from resonate_mq.functions.registry import DurableFunction, Registered
from resonate_mq.functions.retry import PolicyOption

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class AsyncFunction(Generic[P, R]):
    """The coroutines of a registered function: `await foo.aio.run("id", 1)`."""

    def __init__(self, entry: Registered, invocations: Invocations, options: Options) -> None:
        self._entry = entry
        self._invocations = invocations
        self._options = options

    async def run(self, id: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Execute it in this process and return its result; see `Function.run`."""
        result: R = await self._begin("run", id, args, kwargs)
        return result

    async def rpc(self, id: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Have a worker of the target group execute it and return its result; see `Function.rpc`."""
        result: R = await self._begin("rpc", id, args, kwargs)
        return result

    async def begin_run(self, id: str, /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Start it in this process; the handle is returned once the call is durable."""
        handle: Handle[R] = self._begin("run", id, args, kwargs)
        await handle.created()
        return handle

    async def begin_rpc(self, id: str, /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Start it in the target group; the handle is returned once the call is durable."""
        handle: Handle[R] = self._begin("rpc", id, args, kwargs)
        await handle.created()
        return handle

    def _begin(self, verb: str, id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle[Any]:
        return self._invocations.begin(verb, id, self._entry, args, kwargs, self._options)


class Function(DurableFunction[P, R]):
    """A durable function. Calling it with a context calls the function as written.

    Attributes:
        name: what it is called on the wire.
        version: at least 1.
        func: the function as written.
        aio: the same calls as coroutines.
    """

    def __init__(self, entry: Registered, invocations: Invocations, options: Options) -> None:
        self._entry = entry
        self._invocations = invocations
        self._options = options
        self.func = entry.func
        self.name = entry.name
        self.version = entry.version
        self.aio: AsyncFunction[P, R] = AsyncFunction(entry, invocations, options)
        self.__name__ = entry.func.__name__
        self.__qualname__ = entry.func.__qualname__
        self.__module__ = entry.func.__module__
        self.__doc__ = entry.func.__doc__
        self.__wrapped__ = entry.func

    def __call__(self, ctx: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the function as written, durable in nothing."""
        return self.func(ctx, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return self.func == (other.func if isinstance(other, Function) else other)

    def __hash__(self) -> int:
        return hash(self.func)

    def __repr__(self) -> str:
        return f"<Function {self.name!r} version {self.version}>"

    def run(self, id: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Execute it in this process and wait for the result.

        Args:
            id: identity of the call; a second call with it gets the first one's result.

        Raises:
            ResonateStoreError: 100.40399, the id is taken with another idempotency key.
            ResonateTimedoutError: its deadline passed.
            RuntimeError: called where an event loop runs; write `await foo.aio.run(...)` there.
            Exception: what the function raised.
        """
        result: R = self._invocations.wait("run", self.__name__, id, self._entry, args, kwargs, self._options)
        return result

    def rpc(self, id: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Have a worker of the target group execute it and wait for the result; otherwise like `run`."""
        result: R = self._invocations.wait("rpc", self.__name__, id, self._entry, args, kwargs, self._options)
        return result

    def begin_run(self, id: str, /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Start it in this process.

        Returns at once; where no event loop runs, once the call is durable.
        """
        return self._invocations.start("run", id, self._entry, args, kwargs, self._options)

    def begin_rpc(self, id: str, /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Start it in the target group; otherwise like `begin_run`."""
        return self._invocations.start("rpc", id, self._entry, args, kwargs, self._options)

    def options(
        self,
        *,
        encoder: Encoder | None = None,
        idempotency_key: str | Callable[[str], str] | None = None,
        retry_policy: PolicyOption | None = None,
        non_retryable_exceptions: tuple[type[Exception], ...] | None = None,
        tags: dict[str, str] | None = None,
        target: str | None = None,
        timeout: float | timedelta | None = None,
        version: int | None = None,
    ) -> "Function[P, R]":
        """Return a copy whose calls have these options; this one stays as it is.

        Args:
            timeout: seconds until the promise times out, 1 year by default.
            target: worker group or address, own group by default.
            version: 0 for the latest registered here.

        Raises:
            TypeError: an option of the wrong type.
            ValueError: a negative timeout or version.
        """
        options = self._options.merge(
            CLIENT_KEYS,
            f"{self.__name__}.options",
            encoder=encoder,
            idempotency_key=idempotency_key,
            retry_policy=retry_policy,
            non_retryable_exceptions=non_retryable_exceptions,
            tags=tags,
            target=target,
            timeout=timeout,
            version=version,
        )
        return Function(self._entry, self._invocations, options)
