"""The transport port: publish and confirm on the server's side, consume with credits on the worker's side.

A transport carries small messages (hints and unblocks) that may be lost, repeated and reordered; the promise store
is the truth (design section 2.1). What differs between brokers is declared in `Guarantees`, never asked by name.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from resonate_mq.protocol.addresses import Address
from resonate_mq.protocol.messages import Hint, Message


class TransportError(Exception):
    """A transport failed; the message says which, what was found, what was expected and what to do."""

    retryable = True


class TransportConfigError(TransportError):
    """The broker answers, but wrong credentials, rights or topology make the transport unusable until somebody acts."""

    retryable = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """Declared facts of a transport; the conformance suite asserts accordingly.

    Attributes:
        keeps_without_consumer: an anycast message waits in the broker until a consumer comes.
        survives_broker_restart: confirmed anycast messages are still there after the broker was killed.
        redelivers: the transport itself delivers an unended anycast message again when its consumer goes away or gives
            it back. Where it is False the server hears of such hints (`on_lost`) or of a failure, and sends them again.
        packs: several hints may travel in one message (D41).
        max_message_bytes: largest payload it takes; None without a limit of its own.
        head_of_line: a slow consumer delays messages behind it that another could take (D26).
        knows_consumers: it can tell that nobody is there (`NO_CONSUMER`) from a failure.
        counts_held: the credits of a subscription cover the tasks its process holds as well (HTTP poll, D21).
    """

    keeps_without_consumer: bool
    survives_broker_restart: bool
    redelivers: bool
    packs: bool = True
    max_message_bytes: int | None = None
    head_of_line: bool = False
    knows_consumers: bool = True
    counts_held: bool = False


class Outcome(StrEnum):
    """What became of one published message."""

    CONFIRMED = "confirmed"
    """The broker holds it durably (anycast), or handed it to the live process (unicast)."""
    NO_CONSUMER = "no_consumer"
    """Nobody is there, or nobody has room; not a failure. `on_ready` tells when it is worth trying again."""
    FAILED = "failed"
    """Not confirmed: the connection broke, timed out or was refused. Try again with back-off."""


class Outgoing(NamedTuple):
    """One message to publish.

    Attributes:
        address: where to; the transport is the one of its name.
        payload: `encode_message` of the message, ASCII JSON.
        message_id: stable over repeats: for traces and broker-side deduplication.
        weight: hints inside; what it costs in credits.
        hints: the hints inside, where the publisher has them at hand; None makes a transport that counts them decode
            the payload again.
    """

    address: Address
    payload: bytes
    message_id: str
    weight: int
    hints: tuple[Hint, ...] | None = None


Report = Callable[[Outgoing, Outcome, str], None]
"""Called on the loop with the outcome and a reason for people (empty when confirmed); exactly once a message."""


class Delivery(Protocol):
    """A received message. Exactly one of `ack`, `give_back` and `reject` ends it; all are immediate and never raise.

    They are callable from the loop only. On a connection that is gone they do nothing (the broker redelivers).
    """

    message: Message

    def ack(self) -> None:
        """Take it off the broker's books."""
        ...

    def give_back(self) -> None:
        """Return it so that somebody else gets it (D21)."""
        ...

    def reject(self, reason: str) -> None:
        """Send it to the dead-letter destination with `reason`, then ack (D22)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Who listens.

    Attributes:
        group: worker group whose anycast messages are wanted; with credits 0 only unicast is consumed.
        pid: process; unicast messages to (group, pid) are wanted.
        credits: anycast messages that may be delivered and not yet ended at one time.
        on_delivery: called on the loop for each message; must not block, must not raise.
        on_state: called with (True, "") when deliveries can flow, (False, reason) when they cannot.
    """

    group: str
    pid: str
    credits: int
    on_delivery: Callable[[Delivery], None]
    on_state: Callable[[bool, str], None]


class Consumer(Protocol):
    """A running subscription; reconnects by itself until its scope ends."""

    async def pause(self) -> None:
        """Stop anycast deliveries; what was delivered and not ended stays with the caller. Unicast goes on."""
        ...

    async def resume(self, credits: int) -> None:
        """Let anycast flow again with this many credits."""
        ...


class DeadLetter(NamedTuple):
    """A message nobody could use, as the transports without a broker keep the last few (D22)."""

    destination: str
    payload: bytes
    reason: str


class Opening(Protocol):
    """What both halves of a transport share. Constructed closed; `open()` is its connected life.

    `open` returns at once even when the broker is away: it connects in the background, `healthy` says how it is.
    After its scope ended it may be opened again.

    Attributes:
        name: scheme of its addresses.
        guarantees: declared facts.
    """

    name: str
    guarantees: Guarantees

    def open(self) -> AbstractAsyncContextManager[object]:
        """Connect in the background and reconnect for ever; on exit flush what was accepted, then close."""
        ...

    def healthy(self) -> tuple[bool, str]:
        """Return (True, "") or (False, reason for people, secrets masked)."""
        ...

    def unicast(self, group: str, pid: str) -> str:
        """Return the address of one process on this transport, as a listener address."""
        ...


class PublishingTransport(Opening, Protocol):
    """The server's half."""

    async def publish(self, batch: Sequence[Outgoing], report: Report) -> None:
        """Hand over messages, pipelined: returns when all are accepted into the window, not when confirmed.

        Waiting here is back-pressure. Every message is reported exactly once, within a bounded time; a report may come
        before this returns.
        """
        ...

    def on_ready(self, callback: Callable[[str], None]) -> None:
        """Register the callback told of a destination worth a try now: a consumer came or has room again, or (with ""
        for all) the connection is back. The key is `destination_of(str(address))` of the message's address."""
        ...


class ConsumingTransport(Opening, Protocol):
    """The worker's half."""

    def subscribe(self, subscription: Subscription) -> AbstractAsyncContextManager[Consumer]:
        """Consume until the scope ends. Leaving it returns unended anycast messages to the broker."""
        ...


class Transport(PublishingTransport, ConsumingTransport, Protocol):
    """A transport that is one object on both sides."""
