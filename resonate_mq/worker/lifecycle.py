"""A worker under a process manager: first signal drains, second exits (D37). Only scripts and the CLI use this.

Knows no command line; `start()` of a client sets no signal handler.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_BY_SECOND_SIGNAL = 130
ENV_SUPERVISOR = "RESONATE_MQ_SUPERVISOR"
"""Process id of the supervisor this process was started by."""


class StopSignals:
    """SIGTERM and SIGINT of this process, and the death of its supervisor, while the scope lasts.

    Args:
        leave: ends the process at once; called by the second signal.
    """

    def __init__(self, leave: Callable[[int], None] = os._exit) -> None:
        self._leave = leave
        self._stop = asyncio.Event()
        self._signalled_before = False
        self._former: dict[int, Any] = {}
        self._supervisor: int | None = None  # pidfd

    def __enter__(self) -> StopSignals:
        self._loop = asyncio.get_running_loop()
        # not the loop's own handlers: the second signal must work while user code blocks the loop
        self._former = {number: signal.signal(number, self._signalled) for number in SIGNALS}
        self._watch_supervisor(os.environ.get(ENV_SUPERVISOR, ""))
        return self

    def __exit__(self, *_: object) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        if self._supervisor is not None:
            self._loop.remove_reader(self._supervisor)
            os.close(self._supervisor)
            self._supervisor = None

    async def first(self) -> None:
        """Wait for the first signal."""
        await self._stop.wait()

    def _signalled(self, number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        if not self._signalled_before:
            self._signalled_before = True
            self._loop.call_soon_threadsafe(self._begin, f"{name}: taking no more work; a second signal exits at once")
            return
        # no logging here: the signal may have come in the middle of writing a log line
        os.write(2, f"{name} again: exiting without waiting; leases end by themselves\n".encode())
        self._leave(EXIT_BY_SECOND_SIGNAL)

    def _begin(self, reason: str) -> None:
        if not self._stop.is_set():
            logger.info(reason)
            self._stop.set()

    def _watch_supervisor(self, pid: str) -> None:
        """Stop when the supervisor is killed: nobody else would ever end this process, or replace it."""
        if not pid.isdigit() or not hasattr(os, "pidfd_open"):
            return
        try:
            fd = os.pidfd_open(int(pid))
        except ProcessLookupError:
            self._begin("the supervisor is gone: taking no more work")
            return
        except OSError as error:
            logger.debug("the supervisor is not watched: %s", error)
            return
        if os.getppid() != int(pid):  # it started somebody else, who started us with its environment
            os.close(fd)
            return
        self._supervisor = fd
        self._loop.add_reader(fd, self._supervisor_ended)

    def _supervisor_ended(self) -> None:
        assert self._supervisor is not None
        self._loop.remove_reader(self._supervisor)
        self._begin("the supervisor is gone: taking no more work")
