"""The timers of one kind that are due soon: a bounded wheel in memory over what the store holds (D18).

Knows ids and instants, nothing of what they mean. Arming and disarming cost a dictionary entry each; what was
disarmed leaves nothing behind.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

TICK_MS = 4  # precision of firing; a timer never fires early


class Window:
    """Timers with an instant below `horizon_ms`; later ones are the store's alone.

    Args:
        limit: entries kept; beyond it the horizon moves nearer.

    Attributes:
        horizon_ms: everything due before it is here (epoch ms).
    """

    __slots__ = ("_limit", "_spokes", "_ticks", "_when", "horizon_ms")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._when: dict[str, int] = {}
        self._spokes: dict[int, dict[str, None]] = {}
        self._ticks: list[int] = []
        self.horizon_ms = 0

    def __len__(self) -> int:
        return len(self._when)

    def arm(self, one: str, instant_ms: int) -> None:
        """Set the timer of `one`, replacing an earlier setting; beyond the horizon it is only disarmed."""
        if instant_ms >= self.horizon_ms:
            self.disarm(one)
            return
        tick = -(-instant_ms // TICK_MS)
        old = self._when.get(one)
        if old == tick:
            return
        if old is not None:
            self._spokes[old].pop(one, None)
        self._when[one] = tick
        spoke = self._spokes.get(tick)
        if spoke is None:
            self._spokes[tick] = {one: None}
            heappush(self._ticks, tick)
        else:
            spoke[one] = None
        if len(self._when) > self._limit:
            self._shrink()

    def disarm(self, one: str) -> None:
        """Forget the timer of `one`."""
        tick = self._when.pop(one, None)
        if tick is not None:
            self._spokes[tick].pop(one, None)

    def refill(self, found: Iterable[tuple[int, str]], horizon_ms: int) -> None:
        """Take what the store has, complete below `horizon_ms`. What was armed meanwhile stays."""
        self.horizon_ms = horizon_ms
        for instant_ms, one in found:
            if one not in self._when:
                self.arm(one, instant_ms)

    def pop_due(self, now_ms: int, limit: int) -> list[str]:
        """Remove and return at most `limit` timers whose instant has come, earliest first."""
        due: list[str] = []
        newest = now_ms // TICK_MS
        while self._ticks and self._ticks[0] <= newest and len(due) < limit:
            spoke = self._spokes[self._ticks[0]]
            while spoke and len(due) < limit:
                one = next(iter(spoke))
                del spoke[one]
                del self._when[one]
                due.append(one)
            if not spoke:
                del self._spokes[heappop(self._ticks)]
        return due

    def next_ms(self) -> int | None:
        """Return when something may be due next (epoch ms), None when nothing is armed."""
        while self._ticks and not self._spokes[self._ticks[0]]:
            del self._spokes[heappop(self._ticks)]
        return self._ticks[0] * TICK_MS if self._ticks else None

    def clear(self) -> None:
        """Forget everything; the horizon moves to the beginning of time."""
        self._when.clear()
        self._spokes.clear()
        self._ticks.clear()
        self.horizon_ms = 0

    def _shrink(self) -> None:
        """Give the later half back to the store."""
        ticks = sorted(self._spokes)
        kept = 0
        for index, tick in enumerate(ticks):
            kept += len(self._spokes[tick])
            if kept > self._limit // 2 and index > 0:
                self._cut(ticks[index:])
                return

    def _cut(self, ticks: list[int]) -> None:
        for tick in ticks:
            for one in self._spokes.pop(tick):
                del self._when[one]
        self.horizon_ms = (ticks[0] - 1) * TICK_MS
        self._ticks = list(self._spokes)
        heapify(self._ticks)
