"""What a client is given before anything runs: functions, and what they depend on (features B2, D31, D36)."""

from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from resonate_mq.client.core import Core
from resonate_mq.client.function import Function
from resonate_mq.functions.context import Context
from resonate_mq.functions.options import Options, seconds
from resonate_mq.functions.registry import Registry
from resonate_mq.functions.retry import PolicyOption

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D", bound=Callable[..., Any])


class Registrar(Protocol):
    """What `@resonate.register(...)` with arguments gives: a decorator."""

    @overload
    def __call__(self, func: Callable[Concatenate[Context, P], Generator[Any, Any, R]], /) -> Function[P, R]: ...
    @overload
    def __call__(self, func: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Function[P, R]: ...
    @overload
    def __call__(self, func: Callable[Concatenate[Context, P], R], /) -> Function[P, R]: ...


class Registering:
    """The half of `Resonate` that decorators use."""

    _core: Core
    _options: Options

    @property
    def registry(self) -> Registry:
        """The functions registered here."""
        return self._core.registry

    @overload
    def register(
        self,
        func: Callable[Concatenate[Context, P], Generator[Any, Any, R]],
        /,
        *,
        name: str | None = None,
        version: int = 1,
        retry_policy: PolicyOption | None = None,
        timeout: float | timedelta | None = None,
        non_retryable_exceptions: tuple[type[Exception], ...] = (),
    ) -> Function[P, R]: ...
    @overload
    def register(
        self,
        func: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]],
        /,
        *,
        name: str | None = None,
        version: int = 1,
        retry_policy: PolicyOption | None = None,
        timeout: float | timedelta | None = None,
        non_retryable_exceptions: tuple[type[Exception], ...] = (),
    ) -> Function[P, R]: ...
    @overload
    def register(
        self,
        func: Callable[Concatenate[Context, P], R],
        /,
        *,
        name: str | None = None,
        version: int = 1,
        retry_policy: PolicyOption | None = None,
        timeout: float | timedelta | None = None,
        non_retryable_exceptions: tuple[type[Exception], ...] = (),
    ) -> Function[P, R]: ...
    @overload
    def register(
        self,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        retry_policy: PolicyOption | None = None,
        timeout: float | timedelta | None = None,
        non_retryable_exceptions: tuple[type[Exception], ...] = (),
    ) -> Registrar: ...
    def register(
        self,
        func: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        version: int = 1,
        retry_policy: PolicyOption | None = None,
        timeout: float | timedelta | None = None,
        non_retryable_exceptions: tuple[type[Exception], ...] = (),
    ) -> Any:
        """Make a function durable: `@resonate.register`, `@resonate.register(name="n")` or `resonate.register(f)`.

        Args:
            name: what it is called on the wire; `func.__name__` by default.
            version: at least 1; several versions live side by side, a call gets the latest.
            retry_policy: default for its calls; never for generators, exponential for plain functions.
            timeout: default seconds until a call times out.
            non_retryable_exceptions: never retried, subclasses included.

        Raises:
            ValueError: registered already, not a function, a lambda without a name, or version < 1.
            TypeError: `name` or `version` of the wrong type.
        """

        def add(func: Callable[..., Any]) -> Function[..., Any]:
            entry = self._core.registry.add(
                func,
                name=name,
                version=version,
                retry_policy=retry_policy,
                timeout_s=None if timeout is None else seconds("timeout", timeout),
                non_retryable_exceptions=non_retryable_exceptions,
            )
            return Function(entry, self._core.invocations, self._options)

        return add if func is None else add(func)

    def set_dependency(self, name: str, obj: Any) -> None:
        """Make an object available to every durable function in this process; it is never serialised."""
        self._core.dependencies.set(name, obj)

    @overload
    def dependency(self, opens: D, /) -> D: ...
    @overload
    def dependency(self, /, *, name: str | None = None) -> Callable[[D], D]: ...
    def dependency(self, opens: Any = None, /, *, name: str | None = None) -> Any:
        """Open a dependency with the worker: `@resonate.dependency` on an async generator with one yield.

        It is entered on the loop that runs durable functions, before any of them starts, and left at the end. Its
        name is the function's unless `name` says otherwise.
        """

        def add(opens: Any) -> Any:
            self._core.dependencies.add_scope(name or opens.__name__, opens)
            return opens

        return add if opens is None else add(opens)
