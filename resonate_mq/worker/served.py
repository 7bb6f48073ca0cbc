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
        running: by store and task id.
    """

    def __init__(self, link: ServerLink, options: WorkerOptions) -> None:
        self.link = link
        self.requester: Requester = link.requester
        self.leases = Leases(options.ttl_s)
        self.early = EarlyCreates()
        self.running: dict[tuple[str, str], Running] = {}
        self._acquiring: set[tuple[str, str, int]] = set()
        self._acquired: OrderedDict[tuple[str, str, int], None] = OrderedDict()

    @property
    def key(self) -> str:
        """Identity of the store; the address where the server announces none."""
        return self.requester.known.store_id or self.requester.channel.name

    def is_duplicate(self, task_id: str, version: int) -> bool:
        """Tell whether acquiring at this version is under way or already succeeded here."""
        hint = (self.key, task_id, version)
        return hint in self._acquiring or hint in self._acquired

    def acquiring(self, task_id: str, version: int) -> tuple[str, str, int]:
        """Note that an acquire is under way; return what `acquire_ended` wants."""
        hint = (self.key, task_id, version)
        self._acquiring.add(hint)
        return hint

    def reconnected(self) -> None:
        """Forget what was acquired where the server names no store: another one may answer there now (D1)."""
        if self.requester.known.store_id is None:
            self._acquired.clear()

    def acquire_ended(self, hint: tuple[str, str, int], *, acquired: bool) -> None:
        """Note its end. A version that was acquired is over for ever; one that was not may be offered again."""
        self._acquiring.discard(hint)
        if acquired:
            self._acquired[hint] = None
            if len(self._acquired) > REMEMBERED:
                self._acquired.popitem(last=False)


def route(serving: tuple[Served, ...], store_id: str | None) -> Served | None:
    """Return the server a hint belongs to, None when it is none of those this worker is configured for (D2)."""
    if store_id is None:
        return serving[0] if len(serving) == 1 else None
    for served in serving:
        if served.requester.known.store_id == store_id:
            return served
    if len(serving) == 1 and serving[0].requester.known.store_id is None:
        return serving[0]  # not asked yet, or announces nothing: the only server there is
    return None


def refusal(serving: tuple[Served, ...], store_id: str | None) -> str:
    """Return why a hint was refused, for people."""
    if store_id is None:
        return "it names no store and this worker answers to several servers"
    known = ", ".join(sorted(served.key for served in serving))
    return f"it comes from store {store_id!r}, which is none of those this worker is configured for ({known})"
