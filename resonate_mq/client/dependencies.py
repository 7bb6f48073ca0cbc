"""Objects durable functions find by name: set once, or opened with the worker (D31)."""

import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

Scope = Callable[[], AbstractAsyncContextManager[Any]]


class Dependencies(Mapping[str, Any]):
    """What `ctx.get_dependency` reads: names to objects of this process, never serialised."""

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        self._objects: dict[str, Any] = {}
        self._scopes: dict[str, Scope] = {}
        for name, value in (given or {}).items():
            self.set(name, value)

    def __getitem__(self, name: str) -> Any:
        return self._objects[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def set(self, name: str, value: Any) -> None:
        """Make `value` available as `name`.

        Raises:
            TypeError: the name is not a str.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be `str`, got {type(name).__name__}")
        self._objects[name] = value

    def add_scope(self, name: str, opens: Callable[[], Any]) -> None:
        """Open an object with the worker: what the async context manager yields becomes available as `name`.

        Raises:
            TypeError: `opens` neither is an async generator function nor returns an async context manager.
        """
        if inspect.isasyncgenfunction(opens):
            generator: Callable[[], AsyncGenerator[Any, None]] = opens
            self._scopes[name] = asynccontextmanager(generator)
        elif callable(opens) and not inspect.iscoroutinefunction(opens):
            self._scopes[name] = opens
        else:
            raise TypeError(
                f"dependency {name!r} must be an async generator with one yield, or an async context manager"
            )

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open every scope in the order of their registration; close them in reverse on exit."""
        async with AsyncExitStack() as stack:
            for name, scope in self._scopes.items():
                manager = scope()
                if not hasattr(manager, "__aenter__"):
                    raise TypeError(
                        f"dependency {name!r} returned {type(manager).__name__}, not an async context manager"
                    )
                self._objects[name] = await stack.enter_async_context(manager)
            try:
                yield
            finally:
                for name in self._scopes:
                    self._objects.pop(name, None)
