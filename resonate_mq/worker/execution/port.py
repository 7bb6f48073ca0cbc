"""What bodies and their drivers need of the engine that runs them."""

from collections.abc import Callable
from typing import Any, Protocol

from resonate_mq.functions.commands import Promise
from resonate_mq.worker.execution.environment import Environment
from resonate_mq.worker.execution.session import Session
from resonate_mq.worker.execution.step import Step


class Stopped(Exception):  # noqa: N818 - a control signal of this package, never seen by user code
    """The execution ended while a body asked for a step: the body stays where it is until it is evicted."""


class Engine(Protocol):
    """The state one execution's bodies share.

    Attributes:
        active: things that will go on by themselves: threads, retry timers, async bodies not waiting for a step.
        bodies: that are running, waiting or closing.
    """

    environment: Environment
    session: Session
    active: int
    bodies: set[Any]

    @property
    def stopped(self) -> bool:
        """Tell whether no body may go on."""
        ...

    def find(self, body: Any, yielded: object) -> tuple[Step, bool]:
        """Start a command or look up a promise; returns its step and whether its `Promise` is what is wanted.

        Raises:
            TypeError: it is neither, or belongs to another execution.
            Stopped: the execution ended.
            Exception: the call cannot be made (arguments that do not encode, an unknown callee, ...).
        """
        ...

    def promise_of(self, step: Step, body: Any) -> Promise[Any]:
        """Return the `Promise` of a step."""
        ...

    def check_lost(self) -> bool:
        """Tell whether the lease is lost."""
        ...

    def may_start(self, start: Callable[[], None]) -> bool:
        """Tell whether user code may be started; keeps `start` for later while the task is suspended."""
        ...

    def schedule(self, callback: Callable[..., None], *args: Any) -> None:
        """Call back in this turn, not inside the caller."""
        ...

    def drain(self) -> None:
        """Do what was scheduled."""
        ...

    def woke(self) -> None:
        """Note that an async body was woken: it needs some turns of the loop before it is known to wait again."""
        ...

    def ended(self, body: Any, value: Any, error: BaseException | None) -> None:
        """Take the final outcome of a body."""
        ...

    def show(self, step: Step) -> None:
        """Create the promise of a local step as pending, unless it exists."""
        ...

    def forget(self, step: Step) -> None:
        """Drop a step that has no promise."""
        ...

    def retrying(self, *, parked: bool, by: int) -> None:
        """Count waits for a retry; `parked` ones are long."""
        ...
