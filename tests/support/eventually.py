"""The one place where a test waits.

Owns every sleep of the suite: a test states the condition it waits for and how long that may take, never
how long to sleep. Knows nothing of the product.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


class NeverHappenedError(AssertionError):
    """Raised when the awaited condition did not become true in time; says what was last seen."""


@overload
async def eventually(
    condition: Callable[[], Awaitable[T | None]],
    within_s: float = 5.0,
    every_s: float = 0.01,
    message: str = "",
) -> T: ...
@overload
async def eventually(
    condition: Callable[[], T | None],
    within_s: float = 5.0,
    every_s: float = 0.01,
    message: str = "",
) -> T: ...
async def eventually(
    condition: Callable[[], Any],
    within_s: float = 5.0,
    every_s: float = 0.01,
    message: str = "",
) -> Any:
    """Call ``condition`` (plain or coroutine function) until its value is truthy; return that value.

    An ``AssertionError`` raised by the condition counts as "not yet" and is shown when time is up; every
    other exception passes through at once.
    """
    deadline = time.monotonic() + within_s
    while True:
        seen: object
        try:
            value = condition()
            result = await value if inspect.isawaitable(value) else value
            if result:
                return result
            seen = result
        except AssertionError as error:
            seen = error
        if time.monotonic() >= deadline:
            raise NeverHappenedError(_complaint(condition, within_s, message, seen))
        await asyncio.sleep(every_s)


def eventually_sync(
    condition: Callable[[], T | None],
    within_s: float = 5.0,
    every_s: float = 0.01,
    message: str = "",
) -> T:
    """The blocking twin of ``eventually``, for tests and fixtures without an event loop."""
    deadline = time.monotonic() + within_s
    while True:
        seen: object
        try:
            result = condition()
            if result:
                return result
            seen = result
        except AssertionError as error:
            seen = error
        if time.monotonic() >= deadline:
            raise NeverHappenedError(_complaint(condition, within_s, message, seen))
        time.sleep(every_s)


def _complaint(condition: Callable[[], object], within_s: float, message: str, seen: object) -> str:
    what = message or getattr(condition, "__qualname__", repr(condition))
    return f"did not happen within {within_s:g} s: {what} (last seen: {seen!r})"
