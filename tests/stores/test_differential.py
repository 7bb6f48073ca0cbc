"""The same random requests on every store give the same answers and leave the same state.

A failure names its seed; `RESONATE_MQ_DIFFERENTIAL_SEED=<seed>` runs that one alone, and
`RESONATE_MQ_DIFFERENTIAL_COUNT=<n>` runs n seeds instead of the usual few.
"""

import os
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from resonate_mq.machine.dispatch import handles
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import Promise
from resonate_mq.protocol.requests import DebugReset, DebugTick
from resonate_mq.server.kernel import Kernel
from resonate_mq.stores.memory import MemoryStore
from resonate_mq.stores.port import Store
from resonate_mq.stores.sqlite import SqliteStore
from tests.stores.bench import Bench, ManualClock, answer
from tests.stores.random_requests import TARGETS, Generator, Item
from tests.stores.running import running_kernel

LIVES = 3  # times the stores are closed and opened again
GROUPS = 120  # groups of requests in one life
FIXED = 18
FRESH = 6


def seeds() -> list[int]:
    """Return always the same few seeds and some that nobody has tried."""
    alone = os.environ.get("RESONATE_MQ_DIFFERENTIAL_SEED")
    if alone:
        return [int(alone)]
    count = int(os.environ.get("RESONATE_MQ_DIFFERENTIAL_COUNT", FIXED + FRESH))
    return [*range(min(FIXED, count)), *(random.randrange(10**6, 10**9) for _ in range(count - FIXED))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # names without the seed: fresh seeds must not change the names of tests
    if "seed" in metafunc.fixturenames:
        found = seeds()
        names = [str(one) if at < FIXED or len(found) == 1 else f"fresh{at - FIXED}" for at, one in enumerate(found)]
        metafunc.parametrize("seed", found, ids=names)


def picture(promise: Promise) -> dict[str, Any]:
    """Return everything about a promise in a form that compares, relations without their order."""
    found = promise.wire() | {"key": promise.key, "awaiters": sorted(promise.awaiters)}
    found["listeners"] = sorted(promise.listeners)
    if promise.task is not None:
        found["task"] = promise.task.image()._asdict() | {"awaiting": sorted(promise.task.awaiting)}
    return found


async def state_of(store: Store) -> dict[str, Any]:
    """Return all that is stored and all that the store answers about it."""
    bench = Bench(store, ManualClock())
    async with bench.unit() as unit:
        snapshot = await unit.snapshot()
    due = await store.due(10**15, 10**6)
    destinations = {target.rpartition("/p1")[0] or target for target in TARGETS} | set(TARGETS)
    return {
        "promises": [picture(one) for one in sorted(snapshot.promises, key=lambda one: one.id)],
        "schedules": [one.wire() for one in sorted(snapshot.schedules, key=lambda one: one.id)],
        "due": list(due),
        "earliest": list(await store.due(10**15, 3)),
        "waiting": {one: await store.waiting(one, 10**15, 0, 10**6) for one in sorted(destinations)},
        "unconfirmed": await store.unconfirmed(0, 10**6),
        "held": sorted(await store.held()),
    }


class Trial:
    """One seed on all stores at once."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.generator = Generator(seed)
        self.clock = ManualClock(self.generator.now_ms)
        self.chance = random.Random(seed + 1)
        self.slow = SqliteStore(folder / "b.db", cache_records=4, clock=self.clock)
        self.stores: dict[str, Store] = {
            "memory": MemoryStore(self.clock),
            "sqlite": SqliteStore(folder / "a.db", clock=self.clock),
            "sqlite, small cache, slow disk": self.slow,
            "sqlite, no cache": SqliteStore(folder / "c.db", cache_records=0, clock=self.clock),
        }
        self.kernels: dict[str, Kernel] = {}
        self.done: list[Any] = []

    async def run(self) -> None:
        for _ in range(LIVES):
            async with AsyncExitStack() as stack:
                for name, store in self.stores.items():
                    self.kernels[name] = await stack.enter_async_context(running_kernel(store))
                for _ in range(GROUPS):
                    await self.step()
                await self.compare_states()

    async def step(self) -> None:
        async with Bench(self.stores["memory"], self.clock).unit() as unit:
            self.generator.learn((await unit.snapshot()).promises)
        self.generator.advance()
        self.clock.now_ms = self.generator.now_ms
        self.slow.database.pace.is_slow = True
        dice = self.chance.random()
        if dice < 0.05:
            await self.submit([DebugTick(self.generator.now_ms)], in_sequence=False)
        elif dice < 0.053:
            await self.submit([DebugReset()], in_sequence=False)
        elif dice < 0.15:
            await self.abandon(self.generator.group())
        else:
            await self.submit(self.generator.group(), in_sequence=dice < 0.3)
        if dice > 0.9:
            await self.compare_states()

    async def submit(self, items: Sequence[Any], *, in_sequence: bool) -> None:
        self.done.append(items)
        replies: dict[str, list[Reply]] = {}
        for name, kernel in self.kernels.items():
            if in_sequence:
                replies[name] = await kernel.submit_sequence(items)
            else:
                futures = [kernel.submit(item) for item in items]  # one group commit
                replies[name] = [await future for future in futures]
        self.compare(replies)
        for reply in replies["memory"]:
            assert reply.status < 500, f"seed {self.seed}: {reply} to {items}"

    async def abandon(self, items: list[Item]) -> None:
        """Apply requests in a unit that is then left: nothing may come of it."""
        self.done.append(("abandoned", items))
        for store in self.stores.values():
            async with Bench(store, self.clock).unit() as unit:
                for item in items:
                    if handles(type(item)):
                        await answer(unit, item)
                if self.seed % 2:
                    await unit.snapshot()  # written into the transaction already

    async def compare_states(self) -> None:
        self.compare({name: await state_of(store) for name, store in self.stores.items()})

    def compare(self, found: dict[str, Any]) -> None:
        for name, one in found.items():
            place = difference(found["memory"], one)
            assert place is None, f"seed {self.seed}: {name} differs at {place}\nafter {self.done[-1]}"


def difference(a: Any, b: Any, path: str = "") -> str | None:
    """Return where two pictures differ first, None where they do not."""
    if a == b:
        return None
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return next(difference(a[one], b[one], f"{path}.{one}") for one in a if a[one] != b[one])
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return next(difference(x, y, f"{path}[{at}]") for at, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
    return f"{path}: {a!r} != {b!r}"


async def test_all_stores_answer_and_keep_the_same(seed: int, tmp_path: Path) -> None:
    trial = Trial(seed, tmp_path)
    print(f"seed {seed}")
    await trial.run()
