"""One acquired task as its execution sees it: requests that go on while the lease lasts. Implements the port of
`worker.execution.session`; knows no function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.requests import Request, TaskFence
from resonate_mq.transports.api.operation import BUSY
from resonate_mq.transports.port import TransportError
from resonate_mq.worker.early import AFTER_S
from resonate_mq.worker.leases import Lease
from resonate_mq.worker.served import Served

LEAST_DEADLINE_S = 0.2


class HeldTask:
    """One acquisition, and the later ones of the same resident execution.

    Args:
        served: the server it was acquired from.
        pid: of this process.
        data: the answer of the acquire: task, promise, preload.
        lease: under which it is held.
        park: told when the execution only waits for a retry (True), and when it works again (False).
    """

    __slots__ = ("_park", "_parked", "_served", "id", "lease", "pid", "promise", "records", "truncated", "version")

    def __init__(
        self, served: Served, pid: str, data: dict[str, Any], lease: Lease, park: Callable[[bool], None]
    ) -> None:
        self._served = served
        self._park = park
        self._parked = False
        self.pid = pid
        self.id: str = data["task"]["id"]
        self.promise: dict[str, Any] = data["promise"]
        self.again(data, lease)

    def again(self, data: dict[str, Any], lease: Lease) -> None:
        """The task was acquired once more: continue under its new version."""
        self.version: int = data["task"]["version"]
        self.records: Sequence[dict[str, Any]] = data.get("preload") or ()
        self.truncated = bool(data.get("truncated"))
        self.lease = lease

    @property
    def capabilities(self) -> frozenset[str]:
        """Extensions the server announced."""
        return self._served.requester.known.capabilities

    async def sequence(self, requests: Sequence[Request]) -> list[Reply]:
        """Send requests in order for as long as the lease is good; see the port.

        Raises:
            TransportError: no answer while the lease was good.
        """
        done: list[Reply] = []
        while True:
            rest = requests[len(done) :]
            try:
                replies = await self._served.requester.sequence(rest, deadline_s=self._deadline_s())
            except TransportError as error:
                if self.lease.is_lost() or not error.retryable:
                    raise
                continue
            if replies[-1].status not in BUSY:
                return [*done, *replies]
            done += replies[:-1]
            if self.lease.is_lost():
                status, reason = replies[-1]
                raise TransportError(f"task {self.id!r}: {status} until its lease was lost: {reason}")

    async def call(self, request: Request) -> Reply:
        """Send one request; see `sequence`."""
        return (await self.sequence((request,)))[-1]

    def is_lost(self) -> bool:
        """Tell whether the lease can no longer be trusted (D5)."""
        return self.lease.is_lost()

    @property
    def deadline_s(self) -> float:
        """Return the seconds for which the lease is good without another renewal."""
        return self.lease.left_s()

    def park(self, parked: bool) -> None:
        """Give the slot back while only a retry of a second or more is waited for (D36)."""
        if parked != self._parked:
            self._parked = parked
            self._park(parked)

    def show_early(self, create: TaskFence, after_s: float = AFTER_S) -> None:
        """Record a leaf as pending if it is still running after `after_s` seconds, even when it blocks the loop (D9).

        `create` is a fence around promise.create. End it with `shown` when the leaf has ended.
        """
        self._served.early.arm(create, after_s)

    def shown(self, promise_id: str) -> bool:
        """End `show_early`; return whether the create may have been sent."""
        return not self._served.early.disarm(promise_id)

    def _deadline_s(self) -> float:
        return max(LEAST_DEADLINE_S, self.lease.left_s())
