"""What an execution has to tell the server, in the order it was called for (protocol section 6.1). Sends nothing.

Creates must be durable as a prefix of call order, so everything goes through one queue and one sequence at a time.
A leaf may not start before the promises that were handed out before it exist: it waits here.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.requests import PromiseCreate, PromiseRecord, PromiseSettle
from resonate_mq.worker.execution.step import Step

MAX_OPERATIONS = 100  # of one sequence; more only adds latency to its first answer; D44
MAX_CHARACTERS = 1_000_000  # of values in one sequence: a body may not exceed what the server takes

Action = PromiseCreate | PromiseSettle | PromiseRecord


class Operation:
    """One fenced action.

    Attributes:
        answered: called with the promise's record after the fence was answered.
        refused: called with the refusal (a 400) when the server does not accept the action.
        step: the step it is about.
        hands_out: creates a promise other parties may know of; leaves called later wait for it.
    """

    __slots__ = ("_wakes", "action", "answered", "hands_out", "refused", "step")

    def __init__(
        self,
        step: Step,
        action: Action,
        answered: Callable[[dict[str, Any]], None],
        refused: Callable[[Reply], None],
        *,
        wakes: bool = False,
        hands_out: bool = False,
    ) -> None:
        self.step = step
        self.action = action
        self.answered = answered
        self.refused = refused
        self._wakes = wakes
        self.hands_out = hands_out

    @property
    def wakes(self) -> bool:
        """Tell whether somebody runs on when it is answered, whatever the answer."""
        return self._wakes or bool(self.step.created_waiters)

    def characters(self) -> int:
        """Return about how much of a request body it takes."""
        action = self.action
        if isinstance(action, PromiseRecord):
            return len(action.settle.value.data or "")
        value = action.value if isinstance(action, PromiseSettle) else action.param
        return len(value.data or "")


class Outbox:
    """Operations waiting to be sent, and leaves waiting for them."""

    __slots__ = ("_durable", "_handed_out", "_queue", "_waiting")

    def __init__(self) -> None:
        self._queue: deque[Operation] = deque()
        self._handed_out = 0
        self._durable = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def __bool__(self) -> bool:
        return bool(self._queue)

    @property
    def holds_leaves(self) -> bool:
        """Tell whether a leaf waits for an answer."""
        return bool(self._waiting)

    def push(self, operation: Operation) -> None:
        """Queue an operation."""
        self._queue.append(operation)
        if operation.hands_out:
            self._handed_out += 1

    def take(self) -> list[Operation]:
        """Take the operations of the next sequence out of the queue."""
        taken: list[Operation] = []
        room = MAX_CHARACTERS
        while self._queue and len(taken) < MAX_OPERATIONS:
            room -= self._queue[0].characters()
            if room < 0 and taken:
                break
            taken.append(self._queue.popleft())
        return taken

    def clear(self) -> None:
        """Forget everything: the execution ends."""
        self._queue.clear()
        self._waiting.clear()

    def put_back(self, operations: list[Operation]) -> None:
        """Return operations that were not executed, to the front."""
        self._queue.extendleft(reversed(operations))

    def ended(self, operation: Operation) -> None:
        """Note that an operation was answered or refused; leaves that waited for it start."""
        if operation.hands_out:
            self._durable += 1
            while self._waiting and self._waiting[0][0] <= self._durable:
                self._waiting.popleft()[1]()

    def when_durable(self, start: Callable[[], None]) -> None:
        """Call `start` once everything handed out so far exists; at once if it does."""
        if self._durable >= self._handed_out:
            start()
        else:
            self._waiting.append((self._handed_out, start))
