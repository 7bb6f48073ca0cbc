"""One loop a transport: makes messages of what waits for its destinations and publishes them, pipelined.

No timer and no task a message: a commit wakes the loop in the same turn, reports come back as plain calls. Knows
nothing of stores.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from resonate_mq.protocol.addresses import Address
from resonate_mq.protocol.messages import Execute, Hint, Unblock, encode_message
from resonate_mq.server.metrics import Metrics
from resonate_mq.server.presence import Presence
from resonate_mq.server.publisher.destination import MAX_BURST, Destination, PendingHint, PendingUnblock, Phase
from resonate_mq.transports.port import Outcome, Outgoing, PublishingTransport

logger = logging.getLogger(__name__)

FLYING_HINTS_LIMIT = 10_000  # hints under way on one transport
FLYING_UNBLOCKS_LIMIT = 50_000  # a poll stream confirms them only at its next keep-alive
PACK_FULL_BYTES = 64 * 1024  # of payloads: a pack that has so many takes no further unblock
TROUBLE_PAUSE_S = 1.0
STUCK_S = 30.0  # a publish that is not accepted for so long fails readiness


class Follow(Protocol):
    """What becomes of messages, for the publisher."""

    def hint_confirmed(self, hint: PendingHint) -> None: ...

    def hint_refused(self, destination: Destination, hint: PendingHint) -> None: ...

    def unblock_confirmed(self, unblock: PendingUnblock) -> None: ...

    def refused(self, destination: Destination, reason: str, *, failed: bool) -> None: ...

    def drained(self, destination: Destination) -> None: ...

    def settle(self, destination: Destination) -> None: ...


class _Flight(NamedTuple):
    destination: Destination
    hints: Sequence[PendingHint]
    unblocks: Sequence[PendingUnblock]


class Sender:
    """Publishes over one transport.

    Args:
        transport: opened by the server.
        follow: hears what became of each message.
        presence: says how many hints a group takes in one message.
        store_id: head of every message (D1).
        server_url: `execute.head.serverUrl`.
    """

    def __init__(
        self,
        transport: PublishingTransport,
        follow: Follow,
        presence: Presence,
        metrics: Metrics,
        store_id: str,
        server_url: Callable[[], str | None],
    ) -> None:
        self.transport = transport
        self._follow = follow
        self._presence = presence
        self._metrics = metrics
        self._store_id = store_id
        self._server_url = server_url
        self._dirty: dict[str, Destination] = {}
        self._wake = asyncio.Event()
        self._flights: dict[str, _Flight] = {}
        self._flying_hints = 0
        self._flying_unblocks = 0
        self._numbers = 0
        self._publishing_since: float | None = None

    def stir(self, destination: Destination) -> None:
        """Say that `destination` has something to send."""
        self._dirty[destination.key] = destination
        self._wake.set()

    def check(self) -> str:
        """Return why messages do not leave, "" when they do."""
        well, reason = self.transport.healthy()
        if not well:
            return reason
        since = self._publishing_since
        if since is not None and time.monotonic() - since > STUCK_S:
            return f"publishing has been blocked for {time.monotonic() - since:.0f} s"
        return ""

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while batch := self._collect():
                    await self._publish(batch)
                    await asyncio.sleep(0)  # commits and reports come first; what they add goes with the next turn
            except Exception:  # boundary: what was lost here is due again in the store; the loop must go on
                logger.exception("making messages failed", extra={"transport": self.transport.name})
                self._metrics.failed("publisher")
                await asyncio.sleep(TROUBLE_PAUSE_S)

    async def _publish(self, batch: list[Outgoing]) -> None:
        self._publishing_since = time.monotonic()
        try:
            await self.transport.publish(batch, self._report)
        except Exception as error:  # boundary: a bug in one transport must not end its loop; all is sent again
            logger.exception("publishing failed", extra={"transport": self.transport.name})
            self._metrics.failed("publisher")
            for outgoing in batch:
                self._report(outgoing, Outcome.FAILED, f"{type(error).__name__}: {error}")
        finally:
            self._publishing_since = None

    # -- making messages

    def _collect(self) -> list[Outgoing]:
        batch: list[Outgoing] = []
        for destination in list(self._dirty.values()):
            if self._flying_hints >= FLYING_HINTS_LIMIT:
                break  # a report wakes the loop
            self._follow.settle(destination)
            if destination.blocked and not destination.probe:
                del self._dirty[destination.key]
                continue
            room = 1 if destination.blocked else destination.burst
            destination.probe = False
            batch += self._hint_messages(destination, room)
            batch += self._unblock_messages(destination, room)
            if destination.blocked or not destination.has_work:
                del self._dirty[destination.key]
                self._follow.drained(destination)
        return batch

    def _hint_messages(self, destination: Destination, room: int) -> list[Outgoing]:
        messages: list[Outgoing] = []
        limit = self._pack_limit(destination.address, len(destination.hints))
        while destination.hints and len(messages) < room:
            first = next(iter(destination.hints.values()))
            pack = [first]
            for hint in islice(destination.hints.values(), 1, 1 if first.alone else limit):
                if hint.target != first.target or hint.alone:
                    break
                pack.append(hint)
            for hint in pack:
                del destination.hints[hint.task_id]
                hint.phase = Phase.FLYING
            messages.append(self._hint_message(destination, first, pack))
        return messages

    def _hint_message(self, destination: Destination, first: PendingHint, pack: list[PendingHint]) -> Outgoing:
        hints = tuple(Hint(one.task_id, one.version) for one in pack)
        payload = encode_message(Execute(self._store_id, self._server_url(), hints))
        message_id = f"{first.task_id}:{first.version}"
        if message_id in self._flights:  # the same hint of an earlier life of the task is still under way
            self._numbers += 1
            message_id = f"{message_id}:{self._numbers}"
        self._flights[message_id] = _Flight(destination, pack, ())
        self._flying_hints += len(pack)
        destination.flying += 1
        address = first.address or destination.address
        return Outgoing(address, payload, message_id, len(pack), hints)

    def _unblock_messages(self, destination: Destination, room: int) -> list[Outgoing]:
        if not destination.unblocks or self._flying_unblocks >= FLYING_UNBLOCKS_LIMIT:
            return []
        messages: list[Outgoing] = []
        limit = 1
        if self.transport.guarantees.packs and destination.address.cast == "uni":
            limit = self._presence.unblock_pack_limit(destination.address.pid or "")
        loaded = iter(list(islice(destination.loaded_unblocks(), room * limit)))
        for first in loaded:
            pack, size = [first], _size(first)
            for one in islice(loaded, 0 if size > PACK_FULL_BYTES else limit - 1):
                pack.append(one)
                size += _size(one)
                if size > PACK_FULL_BYTES:
                    break
            for one in pack:
                del destination.unblocks[one.promise_id, one.address]
            messages.append(self._unblock_message(destination, pack))
        return messages

    def _unblock_message(self, destination: Destination, pack: list[PendingUnblock]) -> Outgoing:
        records = tuple(one.record for one in pack if one.record is not None)
        payload = encode_message(Unblock(self._store_id, records))
        self._numbers += 1
        message_id = f"u{self._numbers}:{pack[0].promise_id}"
        self._flights[message_id] = _Flight(destination, (), pack)
        self._flying_unblocks += len(pack)
        destination.flying += 1
        for one in pack:
            one.record = None  # settled records can be large: read again if it has to be repeated
        return Outgoing(destination.address, payload, message_id, 0, ())

    def _pack_limit(self, address: Address, ready: int) -> int:
        if not self.transport.guarantees.packs or address.cast == "raw":
            return 1
        if address.cast == "uni":
            return self._presence.process_pack_limit(address.pid or "")
        return self._presence.pack_limit(address.group, ready)

    # -- hearing what became of them

    def _report(self, outgoing: Outgoing, outcome: Outcome, reason: str) -> None:
        flight = self._flights.pop(outgoing.message_id, None)
        if flight is None:
            return
        self._metrics.sent(self.transport.name, outcome.value)
        destination = flight.destination
        destination.flying -= 1
        full = self._flying_hints >= FLYING_HINTS_LIMIT or self._flying_unblocks >= FLYING_UNBLOCKS_LIMIT
        self._flying_hints -= len(flight.hints)
        self._flying_unblocks -= len(flight.unblocks)
        if outcome is Outcome.CONFIRMED:
            self._confirmed(flight)
        else:
            self._refused(flight, reason, failed=outcome is Outcome.FAILED)
        if full and self._dirty:
            self._wake.set()

    def _confirmed(self, flight: _Flight) -> None:
        destination = flight.destination
        destination.failures = 0
        destination.burst = min(destination.burst + 1, MAX_BURST)
        for hint in flight.hints:
            if hint.phase is Phase.FLYING:
                hint.phase = Phase.SENT
                self._follow.hint_confirmed(hint)
        for unblock in flight.unblocks:
            self._follow.unblock_confirmed(unblock)
        if destination.blocked:
            destination.unblock()
            self.stir(destination)

    def _refused(self, flight: _Flight, reason: str, *, failed: bool) -> None:
        destination = flight.destination
        destination.burst = max(1, destination.burst // 4)
        for hint in flight.hints:
            if hint.phase is Phase.FLYING:
                self._follow.hint_refused(destination, hint)
        for unblock in flight.unblocks:
            destination.unblocks[unblock.promise_id, unblock.address] = unblock
        self._follow.refused(destination, reason, failed=failed)


def _size(unblock: PendingUnblock) -> int:
    record = unblock.record or {}
    return len(record.get("param", {}).get("data") or "") + len(record.get("value", {}).get("data") or "")
