"""The watch over the worker's loop, and the stack it logs."""

from __future__ import annotations

import logging
import threading

import pytest

from resonate_mq.worker.watchdog import LoopWatch
from tests.support.eventually import eventually_sync


def blocking_user_code(release: threading.Event) -> None:
    release.wait(10)


async def test_a_blocked_loop_is_logged_once_with_the_stack_that_blocks_it(caplog: pytest.LogCaptureFixture) -> None:
    watch = LoopWatch(blocked_after_s=0.2)
    watch.start()
    release, looked = threading.Event(), threading.Event()

    def look() -> None:
        eventually_sync(lambda: watch.silent_s() > 0.3)
        watch.look()
        watch.look()
        looked.set()
        release.set()

    looker = threading.Thread(target=look)
    with caplog.at_level(logging.WARNING):
        looker.start()
        blocking_user_code(release)
        looker.join()
    watch.stop()
    warnings = [record.getMessage() for record in caplog.records if "blocked" in record.getMessage()]
    assert len(warnings) == 1
    assert "blocking_user_code" in warnings[0]


async def test_a_loop_that_turns_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    watch = LoopWatch(blocked_after_s=0.2)
    watch.start()
    watch.look()
    assert watch.silent_s() < 0.2
    assert not caplog.records
    watch.stop()
    assert watch.silent_s() == 0.0
