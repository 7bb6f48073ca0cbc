"""Threads for blocking functions. Lean on purpose: a step pays this hop, so results come back many at a time.

Owns its threads, which are daemons: a blocking function that never returns must not keep the process alive (D37).
"""

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

Done = Callable[[Any, BaseException | None], None]
_Job = tuple[Callable[[], Any], Done]


class LeafThreads:
    """Runs blocking functions, at most `size` at a time; results are given on the event loop.

    Bind to the running loop with `start()` before the first `submit`.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size: expected an integer >= 1, got {size!r}")
        self.size = size
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: deque[tuple[Done, Any, BaseException | None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = 0
        self._busy = 0
        self._told = False

    def start(self) -> None:
        """Bind to the running loop; threads start on demand."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Let idle threads end; running functions are left alone and their results dropped."""
        self._loop = None
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = self._busy = 0

    def submit(self, function: Callable[[], Any], done: Done) -> None:
        """Run `function` in a thread, then call `done(value, error)` on the loop. Call on the loop only."""
        if self._loop is None:
            self.start()
        self._busy += 1
        if self._busy > self._threads and self._threads < self.size:
            self._threads += 1
            threading.Thread(target=self._work, name=f"resonate-leaf-{self._threads}", daemon=True).start()
        self._jobs.put((function, done))

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            function, done = job
            value, error = None, None
            try:
                value = function()
            except BaseException as raised:  # noqa: BLE001 - the boundary to user code, SystemExit included
                error = raised
            self._done.append((done, value, error))
            del job, function, done, value, error  # an idle thread must not keep results alive
            if not self._told:
                self._told = True
                self._tell()

    def _tell(self) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop was closed while a blocking function still ran
            self._loop = None

    def _deliver(self) -> None:
        self._told = False  # before the queue is read: whoever appends after this tells again
        done_queue = self._done
        while done_queue:
            done, value, error = done_queue.popleft()
            self._busy -= 1
            try:
                done(value, error)
            except Exception:  # a bug of ours must not keep the other results back
                log.exception("the result of a blocking function was not taken")
