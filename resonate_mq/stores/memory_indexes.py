"""Look-ups of the memory store that stay cheap with many records. They know instants, keys and ids, no records."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

_SLACK = 1024  # stale entries that are always tolerated, so that small indexes are never rebuilt


class TimerIndex:
    """Ids by the instant they are armed at. Stale heap entries are skipped, and rebuilt away when they prevail."""

    __slots__ = ("_armed", "_heap")

    def __init__(self) -> None:
        self._armed: dict[str, int] = {}
        self._heap: list[tuple[int, int, str]] = []

    def set(self, name: str, instant: int | None, order: int = 0) -> None:
        """Arm `name` at `instant`, or disarm it; `order` decides among equal instants and is always the same."""
        if instant is None:
            self._armed.pop(name, None)
        elif self._armed.get(name) != instant:
            self._armed[name] = instant
            heappush(self._heap, (instant, order, name))
        if len(self._heap) > 2 * len(self._armed) + _SLACK:
            armed = self._armed
            self._heap = [entry for entry in set(self._heap) if armed.get(entry[2]) == entry[0]]
            heapify(self._heap)

    def first(self, until: int, limit: int) -> list[tuple[int, str]]:
        """Return at most `limit` pairs (instant, id) with an instant <= `until`, earliest first."""
        heap, armed = self._heap, self._armed
        found: list[tuple[int, int, str]] = []
        while heap and heap[0][0] <= until and len(found) < limit:
            entry = heappop(heap)
            # equal entries (disarmed and armed again) come out next to each other
            if armed.get(entry[2]) == entry[0] and (not found or found[-1] != entry):
                found.append(entry)
        for entry in found:
            heappush(heap, entry)
        return [(instant, name) for instant, _, name in found]


class KeyQueue:
    """Keys in ascending order, most of them added at the end and taken near the front."""

    __slots__ = ("_keys", "_live")

    def __init__(self) -> None:
        self._keys: list[int] = []
        self._live: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._live)

    def add(self, key: int, name: str) -> None:
        """Add a key; again is harmless."""
        if key in self._live:
            return
        self._live[key] = name
        if not self._keys or key > self._keys[-1]:
            self._keys.append(key)
            return
        at = bisect_left(self._keys, key)
        if self._keys[at] != key:  # else it was discarded before and its entry is still there
            insort(self._keys, key)

    def discard(self, key: int) -> None:
        """Remove a key if it is there."""
        if self._live.pop(key, None) is not None and len(self._keys) > 2 * len(self._live) + _SLACK:
            self._keys = sorted(self._live)

    def after(self, key: int) -> Iterator[tuple[int, str]]:
        """Yield the pairs (key, id) above `key`, ascending; the queue must not change meanwhile."""
        for at in range(bisect_right(self._keys, key), len(self._keys)):
            name = self._live.get(self._keys[at])
            if name is not None:
                yield self._keys[at], name


class SortedIds:
    """All ids; sorted when somebody asks, which is rare and then costs little more than a walk."""

    __slots__ = ("_ids", "_is_sorted")

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._is_sorted = True

    def add(self, name: str) -> None:
        """Add an id that is not there yet."""
        self._ids.append(name)
        self._is_sorted = False

    def remove(self, name: str) -> None:
        """Remove an id that is there."""
        self.after(None)
        del self._ids[bisect_left(self._ids, name)]

    def after(self, cursor: str | None) -> list[str]:
        """Return the ids above `cursor` in byte order of their UTF-8, which is the order of code points."""
        if not self._is_sorted:
            self._ids.sort()
            self._is_sorted = True
        return self._ids if cursor is None else self._ids[bisect_right(self._ids, cursor) :]
