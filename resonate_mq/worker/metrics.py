"""Counters of one worker and their Prometheus text form. Written from the loop, read from the lease thread."""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "resonate_mq_worker_"


class Counters:
    """Counters by name and label."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, name: str, label: str = "", by: int = 1) -> None:
        """Count. `label` is the value of the counter's one label, which is called `kind`."""
        key = (name, label)
        self._counts[key] = self._counts.get(key, 0) + by

    def value(self, name: str, label: str = "") -> int:
        """Return a count."""
        return self._counts.get((name, label), 0)

    def exposition(self, gauges: Mapping[str, float]) -> str:
        """Return the Prometheus text format, version 0.0.4."""
        lines = []
        seen = ""
        for (name, label), count in sorted(self._counts.copy().items()):
            if name != seen:
                lines.append(f"# TYPE {PREFIX}{name}_total counter")
                seen = name
            labels = f'{{kind="{label}"}}' if label else ""
            lines.append(f"{PREFIX}{name}_total{labels} {count}")
        for name, value in sorted(gauges.items()):
            lines += [f"# TYPE {PREFIX}{name} gauge", f"{PREFIX}{name} {value:g}"]
        return "\n".join(lines) + "\n"
