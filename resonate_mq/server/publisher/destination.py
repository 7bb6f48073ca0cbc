"""What is to be sent, by where it goes. Memory only, bounded: the store's books are the truth (D17, D23)."""

from collections.abc import Iterator
from enum import Enum
from typing import Any

from resonate_mq.protocol.addresses import Address

WAITING_LIMIT = 4_096  # hints kept for one destination while it takes them; the rest stays in the store
BLOCKED_LIMIT = 256  # hints kept for one destination nobody listens at
UNBLOCKS_LIMIT = 2_000  # unblocks kept for one destination; a sweep finds the rest
FIRST_BURST = 64  # messages one turn gives a destination before it has shown what it takes
MAX_BURST = 512


class Phase(Enum):
    """Where a hint is."""

    WAITING = "waiting"
    FLYING = "flying"
    SENT = "sent"
    GONE = "gone"


class PendingHint:
    """A hint the publisher looks after.

    Attributes:
        attempt: sends so far, as the store counts them.
        target: the `resonate:target` tag.
        address: where it goes now: the target, or the resident process that is preferred (D24).
        preferred: it goes to a resident process first and falls back to the target.
        alone: it came back from a pack that found no free slots, so it travels singly from now on (D41).
    """

    __slots__ = ("address", "alone", "attempt", "destination", "phase", "preferred", "target", "task_id", "version")

    def __init__(self, task_id: str, version: int, target: str, attempt: int) -> None:
        self.task_id = task_id
        self.version = version
        self.target = target
        self.attempt = attempt
        self.address: Address | None = None
        self.preferred = False
        self.alone = False
        self.phase = Phase.WAITING
        self.destination: Destination | None = None


class PendingUnblock:
    """An unblock that is not confirmed.

    Attributes:
        record: the settled promise as PromiseRecord, None when it must be read again.
        first_at: local clock reading (s) of the first try; after ten minutes it is given up (D23).
    """

    __slots__ = ("address", "first_at", "promise_id", "record")

    def __init__(self, promise_id: str, address: str, record: dict[str, Any] | None, first_at: float) -> None:
        self.promise_id = promise_id
        self.address = address
        self.record = record
        self.first_at = first_at


class Destination:
    """One routing key (`protocol.addresses.destination_of`) and what waits for it.

    Attributes:
        address: parsed key: pid is None for anycast.
        hints: by task id, oldest first.
        unblocks: by (promise id, address).
        in_store: the store may have hints for it that are not in memory.
        after: where reading them from the store goes on.
        blocked: it took no message last time; only a probe goes out until it is ready again.
        probe: one message may go out although it is blocked.
        failures: tries in a row that were not confirmed.
        burst: messages one turn gives it.
        flying: messages under way.
    """

    __slots__ = (
        "_returned",
        "address",
        "after",
        "blocked",
        "burst",
        "failures",
        "flying",
        "hints",
        "in_store",
        "key",
        "probe",
        "reason",
        "unblocks",
    )

    def __init__(self, key: str, address: Address) -> None:
        self.key = key
        self.address = address
        self.hints: dict[str, PendingHint] = {}
        self.unblocks: dict[tuple[str, str], PendingUnblock] = {}
        self._returned: list[PendingHint] = []
        self.in_store = False
        self.after = 0
        self.blocked = False
        self.probe = False
        self.reason = ""
        self.failures = 0
        self.burst = FIRST_BURST
        self.flying = 0

    @property
    def idle(self) -> bool:
        """Tell whether forgetting it loses nothing."""
        return not (self.hints or self.unblocks or self._returned or self.in_store or self.blocked or self.flying)

    @property
    def has_work(self) -> bool:
        """Tell whether a message could be made of what is in memory."""
        return bool(self.hints or self._returned or any(one.record is not None for one in self.unblocks.values()))

    def has_room(self) -> bool:
        """Tell whether one more hint may wait here in memory; if not, it stays in the store alone."""
        limit = BLOCKED_LIMIT if self.blocked else WAITING_LIMIT
        return not self.in_store and len(self.hints) + len(self._returned) < limit

    def take_back(self, hint: PendingHint) -> None:
        """Let a hint that was not taken wait again, before younger ones."""
        hint.phase = Phase.WAITING
        self._returned.append(hint)

    def settle_returned(self) -> list[PendingHint]:
        """Put what came back in front; return the youngest ones if that is more than is kept in memory."""
        if self._returned:
            back = {one.task_id: one for one in self._returned if one.phase is Phase.WAITING}
            self._returned = []
            self.hints = {**back, **self.hints}
        surplus: list[PendingHint] = []
        if self.blocked:
            while len(self.hints) > BLOCKED_LIMIT:
                surplus.append(self.hints.popitem()[1])
                self.in_store = True
        return surplus

    def loaded_unblocks(self) -> Iterator[PendingUnblock]:
        """Yield the unblocks that can be sent now."""
        return (one for one in self.unblocks.values() if one.record is not None)

    def block(self, reason: str) -> None:
        """It took no message: stop sending, remember why."""
        self.blocked = True
        self.probe = False
        self.reason = reason
        self.failures += 1
        self.after = 0

    def unblock(self) -> None:
        """It is worth a try again."""
        self.blocked = False
        self.probe = False
        self.reason = ""
