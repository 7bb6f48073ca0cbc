"""One server-sent-event stream of a worker process: what waits to be written, and what is not yet confirmed.

Framing is exact (protocol section 1.6): `data: ` + one line of ASCII JSON + two LF; comments keep it alive. An unblock
counts as delivered when the stream has carried a later keep-alive (D23). Knows nothing of HTTP.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable

from resonate_mq.transports.port import Outcome, Outgoing, Report

KEEPALIVE_S = 10.0
CONFIRM_S = 1.0  # with unblocks under way the next keep-alive comes this soon
LIFETIME_S = (200.0, 240.0)  # the official Python client goes deaf when a stream reaches 300 s
MAX_WAITING_MESSAGES = 1_000
MAX_WAITING_BYTES = 8 * 1024 * 1024
KEEPALIVE = b": keepalive\n\n"

Unconfirmed = tuple[Outgoing, Report]


class PollStream:
    """The sending end of one stream.

    Attributes:
        number: its key in the ledger.
        window: credits, hints it may be sent and tasks its process may hold.
        starved: somebody was told that it has no room for unicast messages.
        hinted_at: when it was last sent hints, counted in messages of the hub; 0 for never.
    """

    def __init__(self, number: int, group: str, pid: str, window: int) -> None:
        self.number = number
        self.group = group
        self.pid = pid
        self.window = window
        self.starved = False
        self.hinted_at = 0
        self.closed_because = ""
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._fresh: list[Unconfirmed] = []  # not covered by the keep-alive that is due next
        self._covered: list[Unconfirmed] = []
        self._wake = asyncio.Event()
        self._writing_since: float | None = None

    @property
    def has_room(self) -> bool:
        """Whether another message may wait here: a client that does not read must not fill our memory."""
        return len(self._waiting) < MAX_WAITING_MESSAGES and self._waiting_bytes < MAX_WAITING_BYTES

    def blocked_for(self, now_s: float) -> float:
        """Return for how many seconds the client has not taken what is being written."""
        return 0.0 if self._writing_since is None else now_s - self._writing_since

    def send(self, payload: bytes) -> None:
        """Queue one message."""
        self._waiting.append(payload)
        self._waiting_bytes += len(payload)
        self._wake.set()

    def send_confirmed(self, outgoing: Outgoing, report: Report) -> None:
        """Queue one message and report it when a later keep-alive was carried, or when the stream ends."""
        self._fresh.append((outgoing, report))
        self.send(outgoing.payload)

    def close(self, reason: str) -> None:
        """End the stream once what waits is written."""
        self.closed_because = self.closed_because or reason
        self._wake.set()

    def fail_unconfirmed(self) -> None:
        """Report what cannot be confirmed any more."""
        unconfirmed = self._covered + self._fresh
        self._covered, self._fresh = [], []
        reason = f"the stream of process '{self.pid}' of group '{self.group}' ended first: {self.closed_because}"
        for outgoing, report in unconfirmed:
            report(outgoing, Outcome.FAILED, reason)

    async def chunks(self, on_room: Callable[["PollStream"], None], keepalive_s: float) -> AsyncIterator[bytes]:
        """Yield bytes to write until closed or old; the writer asks for the next chunk when it has written one."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + random.uniform(*LIFETIME_S)
        keepalive_at = loop.time() + keepalive_s
        confirm_at = float("inf")
        yield b": connected\n\n"
        while not self.closed_because or self._waiting:
            now = loop.time()
            if now >= ends_at:
                self.close("it was open for the longest time allowed; the client connects again")
            beat = now >= min(keepalive_at, confirm_at)
            if not beat and not self._waiting:
                await self._rest(min(keepalive_at, confirm_at, ends_at) - now)
                continue
            chunk = self._take() + KEEPALIVE if beat else self._take()
            self._writing_since = now
            yield chunk
            self._writing_since = None
            if beat:
                keepalive_at = loop.time() + keepalive_s
                self._confirm_covered()
            if self._fresh and not self._covered:
                self._covered, self._fresh = self._fresh, []
                confirm_at = loop.time() + CONFIRM_S
            elif beat:
                confirm_at = float("inf")
            if self.starved:
                on_room(self)

    def _take(self) -> bytes:
        chunk = b"".join([b"data: " + payload + b"\n\n" for payload in self._waiting])
        self._waiting.clear()
        self._waiting_bytes = 0
        return chunk

    def _confirm_covered(self) -> None:
        confirmed, self._covered = self._covered, []
        for outgoing, report in confirmed:
            report(outgoing, Outcome.CONFIRMED, "")

    async def _rest(self, seconds: float) -> None:
        if seconds <= 0:
            return
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
