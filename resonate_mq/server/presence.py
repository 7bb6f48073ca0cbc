"""Which worker processes there are, as they announced themselves (`worker.hello`; D24, D26, D41).

In memory only: an announcement that is not refreshed expires, a restarted server hears of everybody within one
heartbeat. Decides nothing of ownership; that is the lease in the store.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from resonate_mq.protocol.addresses import Address, parse_address
from resonate_mq.protocol.requests import WorkerHello

HELLO_EXPIRES_S = 30.0  # several heartbeats of any sensible ttl
PROCESSES_LIMIT = 10_000
HEARTBEATS_LIMIT = 10_000
PACK_LIMIT = 20  # beyond it packing gains nothing; D41
_PACK_FRESH_S = 1.0


class Announced(NamedTuple):
    """One process as it announced itself; `until` and `at` are local clock readings in seconds."""

    hello: WorkerHello
    addresses: dict[str, Address]
    seen_at_ms: int
    until: float


class Presence:
    """Announced processes by pid.

    Args:
        transports: names an address may have.
        clock: monotonic seconds.
    """

    def __init__(self, transports: frozenset[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._transports = transports
        self._clock = clock
        self._processes: OrderedDict[str, Announced] = OrderedDict()
        self._heartbeats: OrderedDict[str, int] = OrderedDict()
        self._packs: dict[str, tuple[int, int, float]] = {}
        self._plain: Counter[str] = Counter()

    def announce(self, hello: WorkerHello, now_ms: int) -> None:
        """Take an announcement; it counts until it expires or is repeated."""
        parsed = (parse_address(one, self._transports) for one in hello.addresses)
        addresses = {one.transport: one for one in parsed}
        self._processes[hello.pid] = Announced(hello, addresses, now_ms, self._clock() + HELLO_EXPIRES_S)
        self._processes.move_to_end(hello.pid)
        self._packs.pop(hello.group, None)
        while len(self._processes) > PROCESSES_LIMIT:
            self._processes.popitem(last=False)

    def heartbeat(self, pid: str, now_ms: int) -> None:
        """Note a task.heartbeat, also of processes that never announce themselves."""
        self._heartbeats[pid] = now_ms
        self._heartbeats.move_to_end(pid)
        while len(self._heartbeats) > HEARTBEATS_LIMIT:
            self._heartbeats.popitem(last=False)

    @contextmanager
    def plain_member(self, group: str) -> Iterator[None]:
        """Note, while it lasts, that somebody listens in `group` who may not understand packs (D41)."""
        self._plain[group] += 1
        try:
            yield
        finally:
            self._plain[group] -= 1
            if not self._plain[group]:
                del self._plain[group]

    def resident_address(self, pid: str, transport: str) -> Address | None:
        """Return where a process that keeps its suspended bodies is reached on `transport`, if it is present (D24)."""
        found = self._present(pid)
        if found is None or not found.hello.resident:
            return None
        return found.addresses.get(transport)

    def pack_limit(self, group: str, ready: int) -> int:
        """Return how many of `ready` hints for the group may travel in one message (D41).

        1 while nobody announced himself; never so many that members would be left without any.
        """
        if group in self._plain:
            return 1
        limit, members = self._group(group)
        return max(1, min(limit, -(-ready // members))) if members else 1

    def _group(self, group: str) -> tuple[int, int]:
        """Return what the smallest member takes in one message, and how many members there are."""
        now = self._clock()
        known = self._packs.get(group)
        if known is None or now >= known[2]:
            sizes = [one.hello.concurrency for one in self._live() if one.hello.group == group]
            limit = max(1, min(min(sizes) // 4, PACK_LIMIT)) if sizes else 1
            known = self._packs[group] = (limit, len(sizes), now + _PACK_FRESH_S)
            if len(self._packs) > PROCESSES_LIMIT:
                self._packs.clear()
        return known[0], known[1]

    def process_pack_limit(self, pid: str) -> int:
        """Return how many hints for one process may travel in one message."""
        found = self._present(pid)
        return 1 if found is None else max(1, min(found.hello.concurrency // 4, PACK_LIMIT))

    def unblock_pack_limit(self, pid: str) -> int:
        """Return how many unblocks for one process may travel in one message; they take no slots."""
        return 1 if self._present(pid) is None else PACK_LIMIT

    def search(self, group: str | None, held: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return every known process with the tasks it holds, by pid; unannounced holders are listed as such."""
        tasks: dict[str, list[str]] = {}
        for pid, task_id in held:
            tasks.setdefault(pid, []).append(task_id)
        announced = {one.hello.pid: one for one in self._live()}
        workers = []
        for pid in sorted(announced.keys() | tasks.keys()):
            one = announced.get(pid)
            if group is None or (one is not None and one.hello.group == group):
                workers.append(self._record(pid, one, sorted(tasks.get(pid, ()))))
        return workers

    def _record(self, pid: str, announced: Announced | None, tasks: list[str]) -> dict[str, Any]:
        record: dict[str, Any] = {"pid": pid, "announced": announced is not None, "tasks": tasks}
        if announced is not None:
            record |= announced.hello.wire()
        seen = [] if announced is None else [announced.seen_at_ms]
        if pid in self._heartbeats:
            seen.append(self._heartbeats[pid])
        if seen:
            record["lastSeenAt"] = max(seen)
        return record

    def _present(self, pid: str) -> Announced | None:
        found = self._processes.get(pid)
        return found if found is not None and self._clock() < found.until else None

    def _live(self) -> list[Announced]:
        now = self._clock()
        while self._processes:
            oldest = next(iter(self._processes.values()))
            if oldest.until > now:
                break
            self._processes.popitem(last=False)
        return list(self._processes.values())
