"""Blocking names made from coroutines, so that each operation is written once (D31).

Owns the rule that nothing blocks a running event loop, and the sentence that names the coroutine instead.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")
R_co = TypeVar("R_co", covariant=True)
A_co = TypeVar("A_co", covariant=True)


def in_running_loop() -> bool:
    """Tell whether the calling thread runs an event loop right now."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def forbid_in_loop(name: str, instead: str) -> None:
    """Raise when the calling thread runs an event loop, which `name` would block.

    Raises:
        RuntimeError: names the awaitable form.
    """
    if in_running_loop():
        raise RuntimeError(f"{name} would block the running event loop; write `{instead}` instead")


class _Waiter(Protocol):
    def submit(self, coroutine: Coroutine[Any, Any, R]) -> "Future[R]": ...


class _HasTwin(Protocol[A_co]):
    """A blocking face: where its coroutines live, who runs them, and what users call it."""

    @property
    def aio(self) -> A_co: ...

    @property
    def _runtime(self) -> _Waiter: ...

    @property
    def _face(self) -> str: ...


class blocking(Generic[A, P, R]):  # noqa: N801  (reads as a decorator)
    """The blocking form of a coroutine method: `create = blocking(AsyncPromises.create)`.

    The owner has `aio` (the object with the coroutine), `_runtime` (who runs it) and `_face` (what people call the
    object, for messages).
    """

    def __init__(self, method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]]) -> None:
        self._method = method
        self._name = method.__name__
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> "blocking[A, P, R]": ...
    @overload
    def __get__(self, instance: _HasTwin[A], owner: type) -> Callable[P, R]: ...
    def __get__(self, instance: _HasTwin[A] | None, owner: type) -> "blocking[A, P, R] | Callable[P, R]":
        if instance is None:
            return self
        twin, runtime, face = instance.aio, instance._runtime, instance._face

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            name = f"{face}.{self._name}"
            forbid_in_loop(f"{name}()", f"await {aio_name(face, self._name)}(...)")
            return runtime.submit(self._method(twin, *args, **kwargs)).result()

        call.__name__ = self._name
        call.__doc__ = self.__doc__
        return call


def aio_name(face: str, method: str) -> str:
    """Return how the coroutine is written: `resonate.promises` and `get` give `resonate.aio.promises.get`."""
    head, dot, tail = face.partition(".")
    return f"{head}.aio{dot}{tail}.{method}"
