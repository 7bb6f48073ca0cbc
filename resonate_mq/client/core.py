"""What all copies of one client share, and how it is opened. `resonate.options(...)` copies options, not this."""

import logging
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from resonate_mq.client.calls import Calls
from resonate_mq.client.dependencies import Dependencies
from resonate_mq.client.invocations import Invocations
from resonate_mq.client.promises import Promises
from resonate_mq.client.runtime import Runtime
from resonate_mq.client.schedules import Schedules
from resonate_mq.functions.registry import Registry
from resonate_mq.transports.api.port import Channel
from resonate_mq.transports.port import ConsumingTransport
from resonate_mq.wiring import Opened, Site, local_pid, open_site
from resonate_mq.wiring.settings import Settings

DEFAULT_GRACE_S = 10.0  # a stop lets what runs end within this

logger = logging.getLogger("resonate_mq.client")


class Core:
    """One client: settings, functions, dependencies, and the runtime they are opened in.

    Args:
        ends: API channel and transport to use instead of those the settings name, for both ends of one's own.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        dependencies: Dependencies,
        ends: tuple[Channel, ConsumingTransport] | None = None,
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.dependencies = dependencies
        self.runtime: Runtime[Opened] = Runtime(self._open, Opened.give_back, f"resonate-{settings.group}")
        self.calls = Calls(self.runtime)
        self.invocations = Invocations(self.runtime, settings, registry)
        self.promises = Promises(self.calls)
        self.schedules = Schedules(self.calls)
        self.pid: str | None = settings.pid
        self._ends = ends
        self._health: str | None = None
        self._grace_s = DEFAULT_GRACE_S
        self._born_in = os.getpid()

    def reconfigure(self, settings: Settings, *, health: str | None = None, grace_s: float = DEFAULT_GRACE_S) -> None:
        """Start with other settings than the client was made with: what flags say, for example.

        Args:
            health: `HOST:PORT` of the worker's health port.
            grace_s: how long a stop waits for running executions.

        Raises:
            RuntimeError: it runs already.
        """
        if self.runtime.is_running:
            raise RuntimeError("the client is running already; it takes its settings when it starts")
        self.settings = self.invocations.settings = settings
        self.pid = settings.pid
        self._health, self._grace_s = health, grace_s

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Opened]:
        self.pid = self._new_pid()
        site = Site(
            settings=self.settings,
            pid=self.pid,
            registry=self.registry,
            dependencies=self.dependencies,
            ends=self._ends,
            health=self._health,
            grace_s=self._grace_s,
        )
        async with self.dependencies.open(), open_site(site) as opened:
            logger.info("started: %s", opened.description)
            yield opened
            logger.info("stopping: group %s, pid %s", self.settings.group, self.pid)

    def _new_pid(self) -> str:
        """A pid for this start: after a fork a chosen one is made different from the parent's."""
        if self.settings.pid is None:
            return local_pid() if self.settings.is_local else uuid.uuid4().hex
        here = os.getpid()
        return self.settings.pid if here == self._born_in else f"{self.settings.pid}-{here}"
