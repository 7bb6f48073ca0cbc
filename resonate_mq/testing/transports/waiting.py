"""Waiting for what events make true."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

LOOK_AGAIN_S = 0.1


class Changes:
    """Wakes those who wait for a condition whenever something happened."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def happened(self) -> None:
        """Something changed: conditions are looked at again."""
        self._event.set()

    async def until(self, condition: Callable[[], object], within_s: float, seen: Callable[[], str]) -> None:
        """Return when `condition` is true.

        Raises:
            AssertionError: it was not within `within_s`; tells what `seen` says.
        """
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self._event.clear()
                    with suppress(TimeoutError):  # some conditions change without an event of ours
                        async with asyncio.timeout(LOOK_AGAIN_S):
                            await self._event.wait()
        except TimeoutError:
            raise AssertionError(f"did not happen within {within_s:g} s; seen: {seen()}") from None
