"""Several worker processes on one machine (`--processes N`): started, watched, restarted, ended together.

Each is a fresh interpreter running the same command line (never a fork, D37). Knows nothing of what they do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from resonate_mq.worker.lifecycle import ENV_SUPERVISOR, EXIT_BY_SECOND_SIGNAL, StopSignals

logger = logging.getLogger(__name__)

ENV_INDEX = "RESONATE_MQ_PROCESS"
"""Number of the child, from 0: for names and ports of its own."""
FIRST_RESTART_S, LAST_RESTART_S = 1.0, 30.0
STEADY_S = 60.0  # a process that lived this long starts its back-off anew


@dataclass(slots=True)
class _Child:
    index: int
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    codes: list[int] = field(default_factory=list)


class ProcessGroup:
    """`count` processes of one command.

    Args:
        argv: the command, the same for each.
        count: how many.
        env: what their environment has besides ours; `RESONATE_MQ_PROCESS` is added.
    """

    def __init__(self, argv: Sequence[str], count: int, env: Mapping[str, str] | None = None) -> None:
        if count < 1:
            raise ValueError(f"processes: expected an integer >= 1, got {count!r}")
        self._argv = list(argv)
        self._env = {**os.environ, **(env or {})}
        self._children = [_Child(index) for index in range(count)]
        self._stopping = False

    async def run(self) -> int:
        """Keep them running until a signal; pass it on, wait for all, return the exit code.

        0 when every process ended with 0 after the signal, else the first other code. The second signal kills them.
        """
        with StopSignals(self._kill) as signals:
            watches = [asyncio.ensure_future(self._keep(child)) for child in self._children]
            await signals.first()
            self._stopping = True
            for child in self._children:
                if child.process is not None and child.process.returncode is None:
                    child.process.terminate()
            for watch, child in zip(watches, self._children, strict=True):
                if child.process is None or child.process.returncode is not None:
                    watch.cancel()
            await asyncio.wait(watches)
        codes = [child.codes[-1] for child in self._children if child.codes]
        return next((code for code in codes if code), 0)

    def pids(self) -> list[int]:
        """Return the operating system's ids of the processes that run."""
        running = [child.process for child in self._children if child.process is not None]
        return [process.pid for process in running if process.returncode is None]

    async def _keep(self, child: _Child) -> None:
        while not self._stopping:
            started_at = time.monotonic()
            env = {**self._env, ENV_INDEX: str(child.index), ENV_SUPERVISOR: str(os.getpid())}
            # a session of its own: a terminal's Ctrl-C reaches us alone, and we pass it on once
            child.process = await asyncio.create_subprocess_exec(*self._argv, env=env, start_new_session=True)
            logger.info("worker process started", extra={"os_pid": child.process.pid, "child": child.index})
            code = await child.process.wait()
            if self._stopping:
                child.codes.append(code)
                return
            if time.monotonic() - started_at >= STEADY_S:
                child.restarts = 0
            delay_s = min(FIRST_RESTART_S * 2**child.restarts, LAST_RESTART_S)
            child.restarts += 1
            logger.error("worker process %d ended with %d; starting it again in %.0f s", child.index, code, delay_s)
            await asyncio.sleep(delay_s)

    def _kill(self, code: int) -> None:
        for child in self._children:
            if child.process is not None and child.process.returncode is None:
                child.process.kill()
        os._exit(code or EXIT_BY_SECOND_SIGNAL)
