"""`/metrics` in the text format of Prometheus, from this server's own registry; counters are read at scrape time."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from resonate_mq.server.metrics import Histogram
from resonate_mq.server.parts import HttpParts
from resonate_mq.stores.port import StoreError

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "resonate_mq_"


async def exposition(parts: HttpParts) -> bytes:
    """Return the metrics page."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(parts, await _backlog_age_s(parts)))
    return generate_latest(registry)


async def _backlog_age_s(parts: HttpParts) -> float | None:
    """Return for how long the oldest due hint has not been taken, seconds; None when the store cannot tell."""
    try:
        now_ms = await parts.store.now_ms()
        due = await parts.store.due(now_ms, 1)
    except StoreError:
        return None
    return max(0.0, (now_ms - due.hints[0][0]) / 1000) if due.hints else 0.0


class _Numbers(Collector):
    def __init__(self, parts: HttpParts, backlog_age_s: float | None) -> None:
        self._parts = parts
        self._backlog_age_s = backlog_age_s

    def collect(self) -> Iterator[Metric]:
        metrics = self._parts.metrics
        requests = CounterMetricFamily(PREFIX + "requests", "Answers given.", labels=["kind", "status"])
        for (kind, status), count in metrics.requests.items():
            requests.add_metric([kind, str(status)], count)
        yield requests
        published = CounterMetricFamily(PREFIX + "published", "Messages.", labels=["transport", "outcome"])
        for (transport, outcome), count in metrics.published.items():
            published.add_metric([transport, outcome], count)
        yield published
        yield self._by_label("dropped", "Messages that were given up.", "reason", metrics.dropped)
        yield self._by_label("failures", "Exceptions caught at a boundary: bugs.", "part", metrics.failures)
        yield _histogram("commit_requests", "Requests in one commit.", metrics.commit_sizes)
        yield _histogram("commit_seconds", "Duration of one group, loading to commit.", metrics.commit_seconds)
        troubles = len(self._parts.health.troubles())
        yield GaugeMetricFamily(PREFIX + "ready", "1 when /ready says 200.", value=0 if troubles else 1)
        if self._backlog_age_s is not None:
            text = "Seconds the oldest due hint has been waiting for somebody to take it."
            yield GaugeMetricFamily(PREFIX + "backlog_age_seconds", text, value=self._backlog_age_s)

    def _by_label(self, name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
        family = CounterMetricFamily(PREFIX + name, text, labels=[label])
        for value, count in counts.items():
            family.add_metric([value], count)
        return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
    return HistogramMetricFamily(PREFIX + name, text, buckets=buckets, sum_value=histogram.total)
