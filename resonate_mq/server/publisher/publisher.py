"""What every commit makes ready is sent here: hints of pending tasks, unblocks of settled promises (D17, D23, D24).

Owns which hint is where (waiting, under way, sent) and when a destination is tried again. Driven by commits, reports
and the transports' own `on_ready`; there is no polling. The store's books are the truth, memory is a bounded cache.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from resonate_mq.machine.rules import HINT_CLAIM_MS
from resonate_mq.protocol.addresses import ALWAYS_VALID, parse_address
from resonate_mq.protocol.messages import Hint
from resonate_mq.protocol.records import PENDING, SUSPENDED, Promise, PromiseImage
from resonate_mq.protocol.tags import TARGET
from resonate_mq.server.commits import Commit, is_new_hint
from resonate_mq.server.kernel import Kernel
from resonate_mq.server.metrics import Metrics
from resonate_mq.server.presence import Presence
from resonate_mq.server.publisher.books import Books
from resonate_mq.server.publisher.destination import (
    UNBLOCKS_LIMIT,
    Destination,
    PendingHint,
    PendingUnblock,
    Phase,
)
from resonate_mq.server.publisher.feeder import Feeder, Untold, Waiting
from resonate_mq.server.publisher.preferred import Preferred
from resonate_mq.server.publisher.routes import Routes
from resonate_mq.server.publisher.sender import Sender
from resonate_mq.stores.port import Store
from resonate_mq.transports.port import PublishingTransport

logger = logging.getLogger(__name__)

SENT_LIMIT = 100_000  # confirmed hints remembered, so that they are not read and sent again before they are due
UNBLOCK_GIVEN_UP_S = 600.0  # D23


class Publisher:
    """Sends over all transports.

    Args:
        transports: by name.
        server_url: `execute.head.serverUrl`.
    """

    def __init__(
        self,
        store: Store,
        kernel: Kernel,
        transports: Mapping[str, PublishingTransport],
        presence: Presence,
        metrics: Metrics,
        server_url: Callable[[], str | None],
    ) -> None:
        self._kernel = kernel
        self._presence = presence
        self._metrics = metrics
        self._senders = {
            name: Sender(transport, self, presence, metrics, store.store_id, server_url)
            for name, transport in transports.items()
        }
        self._hints: dict[str, PendingHint] = {}
        self._sent: dict[str, PendingHint] = {}
        self._routes = Routes(frozenset(transports) | ALWAYS_VALID, frozenset(transports), self._drop_all)
        self.books = Books(kernel)
        self._feeder = Feeder(store, kernel, metrics)
        self._preferred = Preferred(self._to_group)
        for name, transport in transports.items():
            transport.on_ready(partial(self._ready, name))
        kernel.observe(self._observe)
        kernel.on_reset(self._reset)
        kernel.on_resumed(self._feeder.want_sweep)

    def checks(self) -> dict[str, Callable[[], str]]:
        """Return the readiness checks, by part."""
        return {f"transport {name}": sender.check for name, sender in self._senders.items()}

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, sender in self._senders.items():
                    tasks.create_task(sender.run(), name=f"publish {name}")
                tasks.create_task(self._feeder.run(self), name="feed publisher")
                tasks.create_task(self.books.run(), name="write deliveries")
        finally:
            self._routes.clear()
            self._preferred.clear()

    # -- commits

    def _observe(self, commit: Commit) -> None:
        paused = self._kernel.paused
        for promise, before in commit.changed.values():
            task = promise.task
            if task is not None:
                if task.state == PENDING:
                    if not paused and is_new_hint(promise, before, commit.now_ms):
                        self._new_hint(promise, before)
                    elif task.hint_due_at is None or task.hint_attempt < 0:
                        self._left(promise.id)
                elif before is None or (before.task is not None and before.task.state == PENDING):
                    self._left(promise.id)
            has_news = promise.listeners and promise.state != PENDING and not paused
            if has_news and (before is None or before.state == PENDING):
                record = promise.wire()
                self.feed_unblocks([Untold(promise.id, address, record) for address in promise.listeners])

    def _new_hint(self, promise: Promise, before: PromiseImage | None) -> None:
        task = promise.task
        if task is None:
            return
        self._left(promise.id)
        hint = PendingHint(promise.id, task.version, promise.tags[TARGET], 0)
        resumed = before is not None and before.task is not None and before.task.state == SUSPENDED
        if resumed and task.last_pid is not None and self._to_resident(hint, task.last_pid):
            return
        self._enqueue(hint, self._routes.find(hint.target))

    def _left(self, task_id: str) -> None:
        """The task is not pending any more, or its hint is a new one: forget what was under way."""
        hint = self._hints.pop(task_id, None)
        if hint is None:
            hint = self._sent.pop(task_id, None)
            if hint is None:
                return
            self.books.left(task_id)
        elif hint.phase is Phase.WAITING and hint.destination is not None:
            hint.destination.hints.pop(task_id, None)
            self.books.left(task_id)
        hint.phase = Phase.GONE

    # -- hints

    def _enqueue(self, hint: PendingHint, destination: Destination | None) -> None:
        if destination is None:
            self._metrics.drop("no such transport")
            self.books.sent(hint.task_id, hint.version, hint.attempt)
            return
        if not hint.preferred:
            plain = hint.target == destination.key
            hint.address = destination.address if plain else parse_address(hint.target, self._routes.schemes)
        if not destination.has_room():
            destination.in_store = True
            if not destination.blocked:
                self._stir(destination)
            return
        hint.phase = Phase.WAITING
        hint.destination = destination
        self._hints[hint.task_id] = hint
        destination.hints[hint.task_id] = hint
        if not destination.blocked:
            self._stir(destination)

    def offer(self, ids: Sequence[str]) -> None:
        """Send these hints now: their instant has come (the timers' call)."""
        unknown = []
        for task_id in ids:
            hint = self._hints.get(task_id)
            if hint is not None:
                if hint.phase is Phase.WAITING and hint.destination is not None and hint.destination.blocked:
                    self._claim(hint)
                continue
            sent = self._sent.pop(task_id, None)
            if sent is None:
                unknown.append(task_id)
            else:
                self._send_again(sent)
        if unknown:
            self._feeder.want_hints(unknown)

    def _send_again(self, hint: PendingHint) -> None:
        self.books.left(hint.task_id)
        hint.attempt = max(hint.attempt, 0) + 1
        hint.preferred = False
        self._enqueue_known(hint, self._routes.find(hint.target))

    def _enqueue_known(self, hint: PendingHint, destination: Destination | None) -> None:
        """Queue a hint the store holds as due; where nobody takes it, move its instant so that others come up."""
        self._enqueue(hint, destination)
        if destination is not None and (destination.blocked or hint.task_id not in self._hints):
            self._claim(hint)

    def _claim(self, hint: PendingHint) -> None:
        self.books.sent(hint.task_id, hint.version, hint.attempt)
        hint.attempt = max(hint.attempt, 0) + 1

    def feed_hints(self, found: Sequence[Waiting], now_ms: int) -> None:
        """Take due hints from the store."""
        for one in found:
            if not self.knows(one.task_id) and one.due_at <= now_ms:
                hint = PendingHint(one.task_id, one.version, one.target, one.attempt)
                self._enqueue_known(hint, self._routes.find(one.target))

    def feed_backlog(self, destination: Destination, found: Sequence[Waiting], now_ms: int) -> None:
        """Take what waits for one destination: due, refused before, or born while memory was full; not delayed ones."""
        more, destination.in_store = destination.in_store, False
        for one in found:
            wanted = one.due_at <= now_ms or one.attempt > 0
            fresh = one.attempt == 0 and one.due_at <= now_ms + HINT_CLAIM_MS
            if (wanted or fresh) and not self.knows(one.task_id):
                self._enqueue(PendingHint(one.task_id, one.version, one.target, one.attempt), destination)
        destination.in_store = destination.in_store or more
        if not destination.hints and destination.in_store:
            self._feeder.want_backlog(destination)

    def knows(self, task_id: str) -> bool:
        """Tell whether the hint of a task waits, is under way, or was sent and is not due."""
        return task_id in self._hints or task_id in self._sent

    def hint_confirmed(self, hint: PendingHint) -> None:
        """The broker has it, or a stream took it."""
        self._hints.pop(hint.task_id, None)
        self._sent[hint.task_id] = hint
        self.books.sent(hint.task_id, hint.version, hint.attempt)
        if hint.preferred:
            self._preferred.watch(hint)
        if len(self._sent) > SENT_LIMIT:
            del self._sent[next(iter(self._sent))]

    def hint_refused(self, destination: Destination, hint: PendingHint) -> None:
        """It was not taken: a resident's hint goes to the group at once, others wait (D24)."""
        if hint.preferred:
            self._to_group(hint)
        else:
            destination.take_back(hint)

    def lost(self, hints: Sequence[Hint]) -> None:
        """These were sent and not acquired when their stream ended: they are due again (D21)."""
        unknown = []
        for one in hints:
            sent = self._sent.pop(one.task_id, None)
            if sent is not None and sent.version == one.version:
                sent.alone = True
                self._send_again(sent)
            elif sent is None and one.task_id not in self._hints:
                unknown.append(one.task_id)
        if unknown:
            self._feeder.want_hints(unknown)

    # -- residents

    def _to_resident(self, hint: PendingHint, pid: str) -> bool:
        scheme = hint.target.partition("://")[0]
        address = self._presence.resident_address(pid, scheme)
        if address is None:
            return False
        destination = self._routes.find(str(address))
        if destination is None or destination.blocked or not destination.has_room():
            return False
        hint.preferred = True
        hint.address = address
        self._enqueue(hint, destination)
        return True

    def _to_group(self, hint: PendingHint) -> None:
        """The resident process is away or did not take its task in time."""
        if hint.phase is Phase.GONE:
            return
        self._hints.pop(hint.task_id, None)
        if self._sent.pop(hint.task_id, None) is not None:
            self.books.left(hint.task_id)
        hint.preferred = False
        self._enqueue(hint, self._routes.find(hint.target))

    # -- unblocks

    def feed_unblocks(self, found: Sequence[Untold]) -> None:
        """Take unblocks that are not confirmed."""
        now = asyncio.get_running_loop().time()
        for one in found:
            if self.books.is_told(one.promise_id, one.address):
                continue
            destination = self._routes.find(one.address)
            if destination is None:
                self._metrics.drop("no such transport")
                self.books.told(one.promise_id, one.address)
                continue
            self._queue_unblock(destination, one, now)

    def _queue_unblock(self, destination: Destination, one: Untold, now: float) -> None:
        key = (one.promise_id, one.address)
        known = destination.unblocks.get(key)
        if known is not None:
            known.record = one.record
        elif len(destination.unblocks) < UNBLOCKS_LIMIT:
            destination.unblocks[key] = PendingUnblock(one.promise_id, one.address, one.record, now)
        else:
            self._feeder.want_sweep()
            return
        if not destination.blocked or destination.probe:
            self._stir(destination)

    def unblock_confirmed(self, unblock: PendingUnblock) -> None:
        """The listener was told."""
        self.books.told(unblock.promise_id, unblock.address)

    # -- destinations

    def _stir(self, destination: Destination) -> None:
        self._senders[destination.address.transport].stir(destination)

    def _ready(self, name: str, key: str) -> None:
        """A consumer came or has room, or (key "") the whole transport is back."""
        if self._kernel.paused:
            return
        if key:
            destination = self._routes.find(key)
            if destination is not None:
                if not destination.blocked:
                    destination.in_store = destination.in_store or not destination.hints
                self._try_now(destination)
            return
        for destination in self._routes.of_transport(name):
            self._try_now(destination)

    def _try_now(self, destination: Destination) -> None:
        self._routes.stop_retry(destination)
        destination.unblock()
        self.drained(destination)
        self._stir(destination)

    def drained(self, destination: Destination) -> None:
        """Nothing of it is left in memory, or it is blocked: read more, or remember to try it again."""
        if destination.blocked:
            return
        if destination.in_store and not destination.hints:
            self._feeder.want_backlog(destination)
        self._reload(destination)

    def _reload(self, destination: Destination) -> None:
        ids = [one.promise_id for one in destination.unblocks.values() if one.record is None]
        if ids:
            self._feeder.want_records(ids)

    def refused(self, destination: Destination, reason: str, *, failed: bool) -> None:
        """A destination did not take a message: stop sending there, try one message after a while."""
        if not destination.blocked or not destination.flying:
            destination.block(reason)
            self._give_up_old(destination)
            if failed:
                logger.info("publishing failed", extra={"destination": destination.key, "reason": reason})
        self._routes.retry_later(destination, self._probe)

    def _probe(self, destination: Destination) -> None:
        if not destination.blocked:
            return
        self._give_up_old(destination)
        self.settle(destination)
        destination.probe = True
        if destination.has_work:
            self._stir(destination)
        elif destination.unblocks:
            self._feeder.want_records([next(iter(destination.unblocks))[0]])
        else:
            self._try_now(destination)

    def settle(self, destination: Destination) -> None:
        """Put what came back in its place; what is too much stays in the store alone."""
        for surplus in destination.settle_returned():
            self._drop(surplus)

    def _drop(self, hint: PendingHint) -> None:
        self._hints.pop(hint.task_id, None)
        hint.phase = Phase.GONE

    def _drop_all(self, destination: Destination) -> None:
        self.settle(destination)
        for hint in destination.hints.values():
            self._drop(hint)

    def _give_up_old(self, destination: Destination) -> None:
        now = asyncio.get_running_loop().time()
        for key, one in list(destination.unblocks.items()):
            if now - one.first_at > UNBLOCK_GIVEN_UP_S:
                del destination.unblocks[key]
                self.books.told(*key)
                self._metrics.drop("unblock given up")

    def _reset(self) -> None:
        for hint in self._hints.values():
            hint.phase = Phase.GONE
        self._hints, self._sent = {}, {}
        self._routes.clear()
        self._preferred.clear()
        self._feeder.clear()
        self.books.clear()
