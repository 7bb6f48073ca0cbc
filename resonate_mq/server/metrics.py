"""Counters of one server: plain numbers the hot path can afford. How they are shown is `http.exposition`'s business."""

from bisect import bisect_left

COMMIT_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
COMMIT_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Histogram:
    """Counts of observations by upper bound, with their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """All counters of one server.

    Attributes:
        requests: (kind, status) -> answers given; unknown kinds are counted as `unknown`.
        published: (transport, outcome) -> messages.
        dropped: reason -> messages that were given up.
        commit_sizes: requests in each commit.
        commit_seconds: from the first load to the durable end of each commit.
        failures: part -> exceptions caught at a boundary; each is a bug.
    """

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.published: dict[tuple[str, str], int] = {}
        self.dropped: dict[str, int] = {}
        self.commit_sizes = Histogram(COMMIT_SIZES)
        self.commit_seconds = Histogram(COMMIT_SECONDS)
        self.failures: dict[str, int] = {}

    def answered(self, kind: str, status: int) -> None:
        """Count an answer."""
        key = (kind, status)
        self.requests[key] = self.requests.get(key, 0) + 1

    def sent(self, transport: str, outcome: str) -> None:
        """Count what became of a message."""
        key = (transport, outcome)
        self.published[key] = self.published.get(key, 0) + 1

    def drop(self, reason: str, count: int = 1) -> None:
        """Count messages that were given up."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def failed(self, part: str) -> None:
        """Count an exception that was caught at a boundary."""
        self.failures[part] = self.failures.get(part, 0) + 1
