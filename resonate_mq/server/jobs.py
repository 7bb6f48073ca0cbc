"""What waits in the kernel's queue: requests with the future of their caller. Knows no store."""

from asyncio import Future
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from resonate_mq.machine.background import (
    Background,
    ExtendLeases,
    FireDeadlines,
    FireLeases,
    FireSchedules,
    ForgetListeners,
    FreeTasks,
    RearmHints,
)
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import Promise
from resonate_mq.protocol.requests import DebugReset, DebugSnap, DebugTick, Request


@dataclass(slots=True)
class Look:
    """Read promises inside the lane, after everything that was submitted before.

    `project` is called with those that exist; the promises must not outlive the call, its value is the answer's data.
    """

    ids: tuple[str, ...]
    project: Callable[[list[Promise], int], Any]


@dataclass(slots=True)
class Ask:
    """A question the server answers itself, in its place of the order; its value is the answer's data."""

    answer: Callable[[], Awaitable[Any]]


@dataclass(slots=True)
class Probe:
    """Commit nothing, to see whether the store takes commits again."""


Item = Request | Background | Look | Ask | Probe | Reply
"""One element of a sequence. A `Reply` was decided before the kernel saw it and only keeps its place in the order."""

ALONE = (DebugTick, DebugReset, DebugSnap)
"""Requests that see everything before them committed and share their unit with nobody."""


OWN = (
    FireDeadlines,
    FireLeases,
    FireSchedules,
    ExtendLeases,
    FreeTasks,
    RearmHints,
    ForgetListeners,
    Look,
    Probe,
)
"""Requests of the server itself. Each of its loops waits for its own, so that they need no bound to be few."""


class Job:
    """A sequence of items of one caller, run in order until the first answer that is not 200 or 300.

    Attributes:
        items: at least one.
        now_ms: the debug time of its requests (epoch ms), None for the store's time.
        future: gets the list of replies, or the only reply when `single`.
        single: the caller wants one reply, not a list.
        replies: set by the drain, given to the caller after the commit.
    """

    __slots__ = ("future", "items", "now_ms", "replies", "single")

    def __init__(self, items: Sequence[Item], now_ms: int | None, future: "Future[Any]", *, single: bool) -> None:
        self.items = items
        self.now_ms = now_ms
        self.future = future
        self.single = single
        self.replies: list[Reply] = []

    def answer(self) -> None:
        """Give the replies to the caller, unless it has gone."""
        if not self.future.done():
            self.future.set_result(self.replies[0] if self.single else self.replies)

    def refuse(self, reply: Reply) -> None:
        """Answer everything with one refusal."""
        self.replies = [reply]
        self.answer()
