"""What lease holders are owed after an outage: a whole ttl from now, once, before any lease timer fires (D4, D20)."""

import logging

from resonate_mq.machine.background import Background, ExtendLeases, FreeTasks
from resonate_mq.server.kernel import Kernel
from resonate_mq.stores.port import Store, StoreUnavailableError

logger = logging.getLogger(__name__)

GROUP = 500  # tasks of one background request


def local_pid_prefix(os_pid: int) -> str:
    """Return how the pids of workers begin that live inside the server's own process `os_pid` (D20).

    Local mode names its worker `local-<os pid>-<random>`; when the process is found dead, these tasks are freed.
    """
    return f"local-{os_pid}-"


class Grace:
    """Extends leases after an outage, and frees the tasks of a dead predecessor's own worker."""

    def __init__(self, store: Store, kernel: Kernel) -> None:
        self._store = store
        self._kernel = kernel
        self._valid_at_ms: int | None = None
        self._dead_prefix: str | None = None

    def wanted(self, valid_at_ms: int) -> None:
        """Owe a whole ttl to everybody whose lease was valid at `valid_at_ms`, the last instant all was well."""
        if self._valid_at_ms is None or valid_at_ms < self._valid_at_ms:
            self._valid_at_ms = valid_at_ms

    def predecessor_died(self, os_pid: int) -> None:
        """The last opener did not close: tasks held inside that process are free at once (D20)."""
        self._dead_prefix = local_pid_prefix(os_pid)

    async def give(self) -> None:
        """Give what is owed; nothing is forgotten when the store fails on the way.

        Raises:
            StoreError: try again later.
        """
        if self._valid_at_ms is None:
            return
        held = await self._store.held()
        dead = [one for pid, one in held if self._dead_prefix and pid.startswith(self._dead_prefix)]
        living = [one for pid, one in held if not (self._dead_prefix and pid.startswith(self._dead_prefix))]
        for start in range(0, len(dead), GROUP):
            await self._apply(FreeTasks(tuple(dead[start : start + GROUP])))
        for start in range(0, len(living), GROUP):
            await self._apply(ExtendLeases(tuple(living[start : start + GROUP]), self._valid_at_ms))
        if held:
            logger.info("leases extended", extra={"extended": len(living), "freed": len(dead)})
        self._valid_at_ms = None
        self._dead_prefix = None

    async def _apply(self, request: Background) -> None:
        reply = await self._kernel.submit(request)
        if not reply.ok:
            raise StoreUnavailableError(str(reply.data))
