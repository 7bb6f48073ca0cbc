"""What the server asks of a transport that is served over its own HTTP port, besides the transport port.

Structural, so that the server names no adapter (design section 3): whatever offers a stream of bytes per process is
mounted under /poll and told of commits, for its credits (D21).
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, runtime_checkable

from resonate_mq.protocol.messages import Hint
from resonate_mq.protocol.records import ACQUIRED, PENDING, Promise, PromiseImage
from resonate_mq.server.commits import Commit, Observer


@runtime_checkable
class StreamEndpoint(Protocol):
    """A transport whose messages leave as response bodies of this server."""

    def stream(self, group: str, pid: str, credits: int | None = None) -> AsyncIterator[bytes]:
        """Return the body of one response; raises a TransportError at capacity."""
        ...

    def acquired(self, task_id: str, version: int, pid: str) -> None:
        """`pid` acquired the task that was hinted at `version`."""
        ...

    def released(self, task_id: str, pid: str | None = None) -> None:
        """The task is not held any more."""
        ...

    def settled(self, task_id: str) -> None:
        """The task will not be acquired."""
        ...

    def on_lost(self, callback: Callable[[Sequence[Hint]], None]) -> None:
        """Register a callback for hints that were sent and not acquired when their stream ended."""
        ...


def credit_observer(endpoint: StreamEndpoint) -> Observer:
    """Return an observer that tells `endpoint` who acquired and who gave up which task."""

    def observe(commit: Commit) -> None:
        for promise, before in commit.changed.values():
            if promise.task is not None:
                _tell(endpoint, promise, before)

    return observe


def _tell(endpoint: StreamEndpoint, promise: Promise, before: PromiseImage | None) -> None:
    task = promise.task
    was = None if before is None else before.task
    if task is None:
        return
    if task.state == ACQUIRED:
        if (was is None or was.state != ACQUIRED or was.version != task.version) and task.pid is not None:
            endpoint.acquired(promise.id, task.version - 1, task.pid)
        return
    if was is not None and was.state == ACQUIRED:
        endpoint.released(promise.id, was.pid)
    if task.state != PENDING and (was is None or was.version != task.version or was.state in (PENDING, ACQUIRED)):
        endpoint.settled(promise.id)
