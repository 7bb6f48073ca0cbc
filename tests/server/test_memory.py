"""A million promises with year-long deadlines, settled: the server's memory stays flat (D18)."""

import os
import time
from pathlib import Path

import pytest

from resonate_mq.protocol.records import EMPTY
from resonate_mq.protocol.requests import PromiseCreate, PromiseSettle
from resonate_mq.stores.sqlite import SqliteStore
from tests.server.harness import running

YEAR_MS = 365 * 86_400_000
WARM = 200_000
ALL = 1_000_000
GROUP = 500
SLACK_MB = 25.0  # 800,000 armed deadlines would be about 150


def resident_mb() -> float:
    """Return the resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.stress
@pytest.mark.timeout(1_800)
async def test_a_million_settled_promises_leave_no_timers_behind(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", cache_records=1_000)
    async with running(store) as call:
        store.database.read("PRAGMA cache_size = -2000")  # its pages are bounded too, but by more than is made here
        kernel = call.server.kernel
        deadline = int(time.time() * 1000) + YEAR_MS
        warm_mb = 0.0
        for start in range(0, ALL, GROUP):
            ids = [f"p{n}" for n in range(start, start + GROUP)]
            waiting = [
                kernel.submit_sequence([PromiseCreate(one, deadline, EMPTY, {}), PromiseSettle(one, "resolved", EMPTY)])
                for one in ids
            ]
            for future in waiting:
                assert [reply.status for reply in await future] == [200, 200]
            if start + GROUP == WARM:
                warm_mb = resident_mb()
        grown_mb = resident_mb() - warm_mb
        assert grown_mb < SLACK_MB, f"{grown_mb:.0f} MB more after {ALL} promises than after {WARM}"
