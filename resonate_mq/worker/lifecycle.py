"""A worker under a process manager: first signal drains, second exits (D37). Only scripts and the CLI use this.

Knows no command line; `start()` of a client sets no signal handler.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_BY_SECOND_SIGNAL = 130


class StopSignals:
    """SIGTERM and SIGINT of this process while the scope lasts.

    Args:
        leave: ends the process at once; called by the second signal.
    """

    def __init__(self, leave: Callable[[int], None] = os._exit) -> None:
        self._leave = leave
        self._stop = asyncio.Event()

    def __enter__(self) -> StopSignals:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    async def first(self) -> None:
        """Wait for the first signal."""
        await self._stop.wait()

    def _signalled(self, number: signal.Signals) -> None:
        if not self._stop.is_set():
            logger.info("%s: taking no more work; a second signal exits at once", number.name)
            self._stop.set()
            return
        logger.warning("%s again: exiting without waiting; leases end by themselves", number.name)
        self._leave(EXIT_BY_SECOND_SIGNAL)
