"""What a transport's test module provides to the suite."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from resonate_mq.protocol.addresses import Address
from resonate_mq.protocol.messages import Hint
from resonate_mq.transports.port import ConsumingTransport, DeadLetter, Guarantees, PublishingTransport


class Fault(StrEnum):
    """Ways in which a transport's surroundings can break. A transport in one process with its users has none."""

    CUT = "cut"
    """Every connection is closed by force."""
    SILENT_CONSUMER = "silent consumer"
    """The consumers' lines go half open: what is sent on them vanishes, nobody is told."""
    SILENT_PUBLISHER = "silent publisher"
    """The same for the publisher's."""
    STALL = "stall"
    """The broker freezes and runs on later."""
    RESTART = "restart"
    """The broker is killed and started again."""
    DELETE = "delete"
    """Somebody deletes the queue of a group."""
    PROCESS = "process"
    """Consumers may live in processes of their own, which can be killed."""
    CREDENTIALS = "credentials"
    """A login can be wrong."""


class Harness(Protocol):
    """One transport under test with its broker; a fresh one per case.

    Attributes:
        name: how the matrix calls it.
        guarantees: what it declares.
        faults: what can be done to it; cases that need another fault do not apply.
        silence_s: seconds within which a half-open line must have been noticed and replaced.
        outage_s: seconds a frozen broker stays so: longer than what the transport takes to notice.
    """

    name: str
    guarantees: Guarantees
    faults: frozenset[Fault]
    silence_s: float
    outage_s: float

    def group(self, name: str) -> str:
        """Return a group name of this case's own for `name`; different names stay different."""
        ...

    def address(self, cast: str, group: str, pid: str | None) -> Address:
        """Return an address as it comes off the wire; `group` is one that `group` gave."""
        ...

    def publisher(self) -> PublishingTransport:
        """Return the transport as a server holds it, closed. One at a time is open."""
        ...

    def consumer(self) -> ConsumingTransport:
        """Return the transport as a worker process holds it, closed."""
        ...

    def misfit(self) -> PublishingTransport | ConsumingTransport:
        """Return a transport whose login is wrong, closed."""
        ...

    def consumer_command(self) -> Sequence[str]:
        """Return arguments for `resonate_mq.testing.transports.process`: class path, then constructor arguments."""
        ...

    def acquired(self, hints: Sequence[Hint], pid: str) -> None:
        """Tell the transport's server side, where it counts, that `pid` acquired and finished these tasks."""
        ...

    async def dead_letters(self) -> list[DeadLetter]:
        """Return what was rejected so far."""
        ...

    async def cut(self) -> None:
        """Close every connection by force."""
        ...

    async def silence(self, side: str) -> None:
        """Make the open lines of `publisher` or `consumer` swallow everything; new lines work."""
        ...

    async def stall(self) -> None:
        """Freeze the broker."""
        ...

    async def unstall(self) -> None:
        """Let the broker run on."""
        ...

    async def kill_broker(self) -> None:
        """Kill the broker; what it holds on disk stays."""
        ...

    async def start_broker(self) -> None:
        """Start the broker again and return when it takes connections."""
        ...

    async def delete_queue(self, group: str) -> None:
        """Delete the queue of a group behind everybody's back."""
        ...
