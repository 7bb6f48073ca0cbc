"""The server's half of HTTP poll: which process listens on which stream, and who may be sent a hint.

The hub knows streams, not HTTP: `stream()` gives the bytes of one response body. It counts hints sent and not acquired
plus tasks held per process (D21); the server tells it of commits by `acquired`, `released` and `settled`, and hears by
`on_lost` of hints that went down with a stream.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from resonate_mq.protocol.addresses import Address, destination_of, format_address
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.messages import Execute, Hint, decode_message
from resonate_mq.transports.poll.ledger import Ledger
from resonate_mq.transports.poll.stream import KEEPALIVE_S, PollStream
from resonate_mq.transports.port import Guarantees, Outcome, Outgoing, Report, TransportError

DEFAULT_WINDOW = 64  # credits of a stream that announced none: official SDKs (D21)
MAX_WINDOW = 100_000
MAX_STREAMS = 1_000
SAMPLED_STREAMS = 8  # a group larger than this is sampled, so that a send costs the same in any group
SWEEP_S = 5.0
BLOCKED_S = 20.0  # a client that takes no bytes for this long is gone


class PollCapacityError(TransportError):
    """No further stream is taken; the HTTP layer answers 503 with this text (protocol section 1.6)."""

    def __init__(self, maximum: int) -> None:
        super().__init__("Poll registration at capacity")
        self.maximum = maximum


class PollHub:
    """Publishes to the streams of connected workers.

    Args:
        name: scheme of its addresses.
        max_streams: how many streams all groups together may hold.
        keepalive_s: seconds between two comments on a silent stream.
    """

    guarantees = Guarantees(
        keeps_without_consumer=False, survives_broker_restart=False, redelivers=False, counts_held=True
    )

    def __init__(self, name: str = "poll", *, max_streams: int = MAX_STREAMS, keepalive_s: float = KEEPALIVE_S) -> None:
        self.name = name
        self._keepalive_s = keepalive_s
        self._max_streams = max_streams
        self._numbers = itertools.count(1)
        self._streams: dict[int, PollStream] = {}
        self._groups: dict[str, dict[str, PollStream]] = {}
        self._hinted = 0
        self._by_pid: dict[str, set[PollStream]] = {}
        self._ledger = Ledger()
        self._starved: dict[str, str] = {}  # group with members -> destination that found none with room
        self._on_ready: list[Callable[[str], None]] = []
        self._on_lost: list[Callable[[Sequence[Hint]], None]] = []
        self._ready_soon: dict[str, None] = {}
        self._is_open = False

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator["PollHub"]:
        self._is_open = True
        sweeper = asyncio.create_task(self._sweep(), name="poll-hub-sweep")
        try:
            yield self
        finally:
            self._is_open = False
            sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeper
            for stream in list(self._streams.values()):
                stream.close("the server is stopping")

    def open(self) -> AbstractAsyncContextManager["PollHub"]:
        """Take streams; on exit all of them end."""
        return self._opened()

    def healthy(self) -> tuple[bool, str]:
        """Return (True, "") while open."""
        return (True, "") if self._is_open else (False, f"transport '{self.name}' is not open")

    def unicast(self, group: str, pid: str) -> str:
        """Return `<name>://uni@<group>/<pid>`."""
        return format_address(self.name, "uni", group, pid)

    def on_ready(self, callback: Callable[[str], None]) -> None:
        """Register a callback for destinations that are worth a try now."""
        self._on_ready.append(callback)

    def on_lost(self, callback: Callable[[Sequence[Hint]], None]) -> None:
        """Register a callback for hints that were sent and not acquired when their stream ended: they are due again."""
        self._on_lost.append(callback)

    def streams(self) -> list[tuple[str, str, int, int]]:
        """Return (group, pid, window, credits in use) of every stream, for metrics and listings."""
        return [
            (stream.group, stream.pid, stream.window, self._ledger.in_use(stream.number, stream.pid))
            for stream in self._streams.values()
        ]

    # --- what the server tells after a commit

    def acquired(self, task_id: str, version: int, pid: str) -> None:
        """`pid` acquired the task that was hinted at `version`, over whatever transport."""
        self._has_credit(self._streams.get(self._ledger.acquired(task_id, version, pid) or 0))

    def released(self, task_id: str, pid: str | None = None) -> None:
        """The task is not held any more: fulfilled, suspended, released, halted, or its lease ended."""
        holder = self._ledger.released(task_id)
        for stream in self._by_pid.get(holder or "", ()):
            self._has_credit(stream)

    def settled(self, task_id: str) -> None:
        """The task will not be acquired: its promise settled, or it was halted. A hint under way is forgotten."""
        self._has_credit(self._streams.get(self._ledger.forget(task_id) or 0))

    # --- publishing

    async def publish(self, batch: Sequence[Outgoing], report: Report) -> None:
        """Write to streams. Hints are reported at once, unblocks when their stream has carried a later keep-alive."""
        for outgoing in batch:
            hints = _hints_of(outgoing)
            address = outgoing.address
            stream = self._named(address) if address.cast == "uni" else self._anycast(address, len(hints))
            if stream is None:
                report(outgoing, Outcome.NO_CONSUMER, self._absence(address))
            elif hints:
                self._ledger.sent(stream.number, hints)
                self._hinted += 1
                stream.hinted_at = self._hinted
                stream.send(outgoing.payload)
                report(outgoing, Outcome.CONFIRMED, "")
            else:
                stream.send_confirmed(outgoing, report)

    def _named(self, address: Address) -> PollStream | None:
        stream = self._groups.get(address.group, {}).get(address.pid or "")
        if stream is None or stream.has_room:
            return stream
        stream.starved = True
        return None

    def _anycast(self, address: Address, weight: int) -> PollStream | None:
        members = self._groups.get(address.group)
        if members:
            preferred = members.get(address.pid) if address.pid else None
            if preferred is not None and self._fits(preferred, weight):
                return preferred
            everyone = list(members.values())
            few = everyone if len(everyone) <= SAMPLED_STREAMS else random.sample(everyone, SAMPLED_STREAMS)
            chosen = self._freest(few, weight) or (self._freest(everyone, weight) if few is not everyone else None)
            if chosen is not None:
                return chosen
            self._starved[address.group] = destination_of(str(address))
        return None  # a group without members is announced when its first one comes

    def _freest(self, streams: Sequence[PollStream], weight: int) -> PollStream | None:
        fitting = [stream for stream in streams if self._fits(stream, weight)]
        if not fitting:
            return None
        most = max(self._free(stream) for stream in fitting)
        # not the same one again: a task it gave back, not knowing the function, must get to the others of its group
        return min((one for one in fitting if self._free(one) == most), key=lambda one: one.hinted_at)

    def _free(self, stream: PollStream) -> int:
        return stream.window - self._ledger.in_use(stream.number, stream.pid)

    def _fits(self, stream: PollStream, weight: int) -> bool:
        if not stream.has_room:
            stream.starved = True
            return False
        if stream.window == 0:
            return False
        # a pack larger than the whole window goes out when the window is empty, rather than never
        return self._free(stream) >= min(max(weight, 1), stream.window)

    def _absence(self, address: Address) -> str:
        if address.cast == "uni":
            known = address.pid in self._groups.get(address.group, {})
            why = "does not read its stream" if known else "has no stream here"
            return f"process '{address.pid}' of group '{address.group}' {why}"
        count = len(self._groups.get(address.group, {}))
        if not count:
            return f"no worker of group '{address.group}' is connected"
        return f"no free credits among {count} connected worker(s) of group '{address.group}'"

    # --- streams

    def stream(self, group: str, pid: str, credits: int | None = None) -> AsyncIterator[bytes]:
        """Return the body of one poll response; the stream is registered from its first chunk to its end.

        Args:
            group: worker group, decoded.
            pid: process; an older stream of the same (group, pid) ends.
            credits: what the client announced; None means the window of official SDKs, 0 unicast only.

        Raises:
            PollCapacityError: too many streams; answer 503.
        """
        known = pid in self._groups.get(group, {})
        if len(self._streams) >= self._max_streams and not known:
            raise PollCapacityError(self._max_streams)
        window = DEFAULT_WINDOW if credits is None else max(0, min(credits, MAX_WINDOW))
        return self._run(PollStream(next(self._numbers), group, pid, window))

    async def _run(self, stream: PollStream) -> AsyncIterator[bytes]:
        if not self._is_open:
            return
        self._register(stream)
        try:
            async for chunk in stream.chunks(self._has_room, self._keepalive_s):
                yield chunk
        finally:
            stream.close("the client went away")
            self._unregister(stream)

    def _register(self, stream: PollStream) -> None:
        members = self._groups.setdefault(stream.group, {})
        older = members.get(stream.pid)
        if older is not None:
            older.close("the process opened a newer stream")
            self._unregister(older)
        members = self._groups.setdefault(stream.group, {})
        members[stream.pid] = stream
        self._streams[stream.number] = stream
        self._by_pid.setdefault(stream.pid, set()).add(stream)
        self._tell_ready(self.unicast(stream.group, stream.pid))
        if stream.window:
            self._starved.pop(stream.group, None)
            self._tell_ready(destination_of(format_address(self.name, "any", stream.group)))

    def _unregister(self, stream: PollStream) -> None:
        if self._streams.pop(stream.number, None) is None:
            return
        members = self._groups[stream.group]
        if members.get(stream.pid) is stream:
            del members[stream.pid]
            if not members:
                del self._groups[stream.group]
                self._starved.pop(stream.group, None)
        siblings = self._by_pid[stream.pid]
        siblings.discard(stream)
        if not siblings:
            del self._by_pid[stream.pid]
        stream.fail_unconfirmed()
        lost = self._ledger.closed(stream.number)
        if lost:
            for callback in self._on_lost:
                callback(lost)

    async def _sweep(self) -> None:
        """Drop streams whose client reads nothing: TCP alone would tell only after many minutes."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            for stream in list(self._streams.values()):
                if stream.blocked_for(loop.time()) > BLOCKED_S:
                    stream.close("the client does not read")
                    self._unregister(stream)

    # --- readiness

    def _has_credit(self, stream: PollStream | None) -> None:
        if stream is not None and stream.group in self._starved and self._free(stream) > 0:
            self._tell_ready(self._starved.pop(stream.group))

    def _has_room(self, stream: PollStream) -> None:
        stream.starved = False
        self._tell_ready(self.unicast(stream.group, stream.pid))
        self._has_credit(stream)

    def _tell_ready(self, destination: str) -> None:
        if not self._ready_soon:
            asyncio.get_running_loop().call_soon(self._flush_ready)
        self._ready_soon[destination] = None

    def _flush_ready(self) -> None:
        ready, self._ready_soon = self._ready_soon, {}
        for destination in ready:
            for callback in self._on_ready:
                callback(destination)


def _hints_of(outgoing: Outgoing) -> tuple[Hint, ...]:
    """The hints inside; none for an unblock, and for bytes that only the receiver can complain about."""
    if outgoing.hints is not None:
        return outgoing.hints
    try:
        message = decode_message(outgoing.payload)
    except InvalidRequestError:
        return ()
    return message.hints if isinstance(message, Execute) else ()
