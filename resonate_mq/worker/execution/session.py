"""What one acquired task gives to the execution that runs it. The worker implements it; knows nothing of functions."""

from collections.abc import Sequence
from typing import Any, Protocol

from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.requests import Request, TaskFence


class Session(Protocol):
    """One acquisition of one task.

    Attributes:
        id: of the task and its promise.
        version: the version acquire answered; every fence carries it.
        promise: the task's PromiseRecord (wire dict).
        records: the preload of the acquire (wire dicts).
        truncated: whether `records` may lack some: what is not found is asked for then, before it is run.
        capabilities: extensions the server announced, names of `protocol.parse.EXTENSIONS`.
        pid: of this process.
    """

    @property
    def id(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def promise(self) -> dict[str, Any]: ...

    @property
    def records(self) -> Sequence[dict[str, Any]]: ...

    @property
    def truncated(self) -> bool: ...

    @property
    def capabilities(self) -> frozenset[str]: ...

    @property
    def pid(self) -> str: ...

    async def sequence(self, requests: Sequence[Request]) -> list[Reply]:
        """Send requests that depend on each other, in order; stop after the first answer that is not 2xx or 300.

        Returns as many replies as were executed. Retries what is retryable. A request whose `children` is True wants
        the head of the children preload (D10).

        Raises:
            TransportError: the server cannot be reached or the outcome is unknown.
        """
        ...

    def is_lost(self) -> bool:
        """Tell whether the lease can no longer be trusted (D5). Cheap: asked before every step."""
        ...

    def park(self, parked: bool) -> None:
        """Hear that the execution only waits for a retry of >= 1 s (True), or works again (False) (D36)."""
        ...

    def show_early(self, create: TaskFence, after_s: float) -> None:
        """Send `create` on its own after `after_s` seconds unless `shown` is called before (D9).

        It does not need the loop: a leaf that blocks it is seen as well. Nothing is said of how it was answered.
        """
        ...

    def shown(self, promise_id: str) -> bool:
        """End `show_early`; tell whether its create may have been sent."""
        ...
