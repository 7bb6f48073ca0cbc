"""One server as the worker sees it: how to ask it, what is held there, what runs (everything keyed by store, D1)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from resonate_mq.transports.api.requester import Requester
from resonate_mq.worker.early import EarlyCreates
from resonate_mq.worker.leases import Leases
from resonate_mq.worker.options import ServerLink, WorkerOptions

REMEMBERED = 10_000  # acquired (task, version) pairs, against duplicate hints


class Running(Protocol):
    """What runs one acquired task."""

    version: int
    ended: asyncio.Future[None]

    def abandon(self, reason: str) -> None:
        """Give up the lease; what runs ends at its next step."""
        ...


class Served:
    """One server and this worker's dealings with it.

    Attributes:
        requester: on the worker's loop.
        leases: what is held there.
        early: creates of leaves that run long.
        running: by task id.
    """

    def __init__(self, link: ServerLink, options: WorkerOptions) -> None:
        self.link = link
        self.requester: Requester = link.requester
        self.leases = Leases(options.ttl_s)
        self.early = EarlyCreates()
        self.running: dict[str, Running] = {}
        self._acquiring: set[tuple[str, int]] = set()
        self._acquired: OrderedDict[tuple[str, int], None] = OrderedDict()

    @property
    def key(self) -> str:
        """Identity of the store; the address where the server announces none."""
        return self.requester.known.store_id or self.requester.channel.name

    def is_duplicate(self, task_id: str, version: int) -> bool:
        """Tell whether acquiring at this version is under way or already succeeded here."""
        hint = (task_id, version)
        return hint in self._acquiring or hint in self._acquired

    def acquiring(self, task_id: str, version: int) -> None:
        """Note that an acquire is under way."""
        self._acquiring.add((task_id, version))

    def acquire_ended(self, task_id: str, version: int, *, acquired: bool) -> None:
        """Note its end. A version that was acquired is over for ever; one that was not may be offered again."""
        hint = (task_id, version)
        self._acquiring.discard(hint)
        if acquired:
            self._acquired[hint] = None
            if len(self._acquired) > REMEMBERED:
                self._acquired.popitem(last=False)


def route(serving: tuple[Served, ...], store_id: str | None) -> Served | str:
    """Return the server a hint belongs to, or why none of ours does (D2)."""
    unknown = [served for served in serving if served.requester.known.store_id is None]
    if store_id is None:
        return serving[0] if len(serving) == 1 else "it names no store and this worker answers to several servers"
    for served in serving:
        if served.requester.known.store_id == store_id:
            return served
    if len(serving) == 1 and unknown:
        return serving[0]  # not asked yet, or announces nothing: the only server there is
    known = ", ".join(sorted(served.key for served in serving))
    return f"it comes from store {store_id!r}, which is none of those this worker is configured for ({known})"
