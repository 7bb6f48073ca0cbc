"""Who was sent which hint and who holds which task: the credits of HTTP poll (D21).

Pure bookkeeping, told of sends by the hub and of commits by the server; knows neither streams nor HTTP.
"""

from collections import Counter
from collections.abc import Iterable

from resonate_mq.protocol.messages import Hint


class Ledger:
    """Counts hints sent and not acquired per stream, and tasks held per process. Streams go by number."""

    def __init__(self) -> None:
        self._sent: dict[str, tuple[Hint, int]] = {}
        self._sent_to: dict[int, dict[str, Hint]] = {}
        self._holder: dict[str, str] = {}
        self._held: Counter[str] = Counter()

    def in_use(self, stream: int, pid: str) -> int:
        """Return the credits that `pid` uses on `stream`."""
        sent = self._sent_to.get(stream)
        return (len(sent) if sent else 0) + self._held[pid]

    def sent(self, stream: int, hints: Iterable[Hint]) -> None:
        """Hints left on `stream`; one that was sent elsewhere before (a repeat) counts only here now."""
        mine = self._sent_to.setdefault(stream, {})
        for hint in hints:
            self.forget(hint.task_id)
            self._sent[hint.task_id] = (hint, stream)
            mine[hint.task_id] = hint

    def forget(self, task_id: str) -> int | None:
        """The task needs no hint any more; return the stream that has a credit back."""
        entry = self._sent.pop(task_id, None)
        if entry is None:
            return None
        stream = entry[1]
        sent = self._sent_to.get(stream)
        if sent is not None:
            sent.pop(task_id, None)
        return stream

    def acquired(self, task_id: str, version: int, pid: str) -> int | None:
        """`pid` holds the task, hinted at `version`; return the stream that has a credit back."""
        self.released(task_id)
        self._holder[task_id] = pid
        self._held[pid] += 1
        entry = self._sent.get(task_id)
        if entry is None or entry[0].version > version:
            return None  # that hint is of a later life of the task
        return self.forget(task_id)

    def released(self, task_id: str) -> str | None:
        """Nobody holds the task any more; return the process that did."""
        pid = self._holder.pop(task_id, None)
        if pid is not None:
            self._held[pid] -= 1
            if not self._held[pid]:
                del self._held[pid]
        return pid

    def closed(self, stream: int) -> list[Hint]:
        """The stream is gone; return the hints it was sent and nobody acquired."""
        lost = self._sent_to.pop(stream, {})
        for task_id in lost:
            self._sent.pop(task_id, None)
        return list(lost.values())
