"""Threads for blocking functions. Lean on purpose: a step pays this hop, so few threads are woken for many short calls.

Owns its threads, which are daemons: a blocking function that never returns must not keep the process alive (D37).
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

Done = Callable[[Any, BaseException | None], None]
_Job = tuple[Callable[[], Any], Done]
_Bell = threading.Lock
"""Held while its thread sleeps; releasing it wakes the thread."""


class LeafThreads:
    """Runs blocking functions, at most `size` at a time; results are given on the event loop.

    A thread that is awake and without a job looks for the next one by itself, so only when there is none is another
    woken: by `submit`, or by the thread that takes a job and leaves more behind. Short calls are thus run by one or two
    threads, while calls that block spread over all.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size: expected an integer >= 1, got {size!r}")
        self.size = size
        self._mutex = threading.Lock()
        self._jobs: deque[_Job] = deque()
        self._asleep: list[Any] = []
        self._looking = 0
        self._threads = 0
        self._generation = 0
        self._done: deque[tuple[Done, Any, BaseException | None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = False

    def start(self) -> None:
        """Bind to the running loop; threads start on demand."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Let idle threads end; running functions are left alone and their results dropped."""
        with self._mutex:
            self._loop = None
            self._generation += 1
            self._jobs.clear()
            bells, self._asleep = self._asleep, []
            self._threads = self._looking = 0
        for bell in bells:
            bell.release()

    def submit(self, function: Callable[[], Any], done: Done) -> None:
        """Run `function` in a thread, then call `done(value, error)` on the loop. Call on the loop only."""
        if self._loop is None:
            self.start()
        with self._mutex:
            self._jobs.append((function, done))
            bell = self._another()
        if bell is not None:
            bell.release()

    def _another(self) -> Any:
        """Count in one more thread that looks for jobs, unless one does; return its bell, None if it was started."""
        if self._looking:
            return None
        if self._asleep:
            self._looking += 1
            return self._asleep.pop()
        if self._threads < self.size:
            self._looking += 1
            self._threads += 1
            name = f"resonate-leaf-{self._threads}"
            threading.Thread(target=self._work, args=(self._generation,), name=name, daemon=True).start()
        return None

    def _work(self, generation: int) -> None:
        bell = _Bell()
        bell.acquire()
        while True:
            job: _Job | None = None
            other = None
            with self._mutex:
                if generation != self._generation:
                    return
                self._looking -= 1
                if self._jobs:
                    job = self._jobs.popleft()
                    if self._jobs:
                        other = self._another()
                else:
                    self._asleep.append(bell)
            if other is not None:
                other.release()
            if job is None:
                bell.acquire()
                continue
            self._run(*job)
            del job  # an idle thread must not keep results alive
            with self._mutex:
                if generation != self._generation:
                    return
                self._looking += 1

    def _run(self, function: Callable[[], Any], done: Done) -> None:
        value, error = None, None
        try:
            value = function()
        except BaseException as raised:  # noqa: BLE001 - the boundary to user code, SystemExit included
            error = raised
        self._done.append((done, value, error))
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
            try:
                done(value, error)
            except Exception:  # a bug of ours must not keep the other results back
                log.exception("the result of a blocking function was not taken")
