"""The stage of the kill tests: a real server, real workers behind recording proxies, an outside ledger."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from resonate_mq.functions.codec import Codec
from resonate_mq.functions.invocation import encode_invocation
from tests.crash.app import STEPS
from tests.crash.recording_proxy import RecordingProxy
from tests.support.processes import RunningProcess, Spawner, command
from tests.support.server import ServerProcess

TTL_S = 2.0
MARGIN_S = 2.0
"""Every workflow moves again within ttl + 2 s (issue section 8)."""


class Attempt(NamedTuple):
    """One line of the ledger."""

    at: float
    workflow: str
    step: int
    pid: int

    @property
    def step_id(self) -> str:
        """Id of the step's promise."""
        return f"{self.workflow}.{self.step}"


class Actor:
    """One worker process and the proxy it talks through."""

    def __init__(self, process: RunningProcess, proxy: RecordingProxy) -> None:
        self.process = process
        self.proxy = proxy

    @property
    def dead(self) -> bool:
        return self.process.returncode is not None


class Stage:
    """Everything of one test."""

    def __init__(self, folder: Path, spawner: Spawner, server: ServerProcess, amqp_url: str | None) -> None:
        self.folder = folder
        self.server = server
        self.ledger = folder / "ledger"
        self.actors: list[Actor] = []
        self.extra_arguments: list[str] = []
        self._spawner = spawner
        self._amqp_url = amqp_url
        self._stack = AsyncExitStack()
        self.group = f"crash-{secrets.token_hex(4)}"  # brokers are shared: nobody else's hints

    @property
    def _target(self) -> str:
        return f"{'amqp' if self._amqp_url else 'poll'}://any@{self.group}"

    async def worker(self) -> Actor:
        """Start a worker and wait until it works."""
        proxy = await self._stack.enter_async_context(RecordingProxy.running(self.server.url))
        argv = [command("resonate-mq"), "worker", "tests.crash.app:resonate", "--url", proxy.url]
        argv += ["--group", self.group, "--ttl", str(TTL_S), "--log-level", "info"]
        if self._amqp_url:
            argv += ["--transport", f"amqp={self._amqp_url}"]
        argv += self.extra_arguments
        process = self._spawner(argv, "worker", env={"CRASH_LEDGER": str(self.ledger)})
        actor = Actor(process, proxy)
        self.actors.append(actor)
        await process.line("working as pid", within_s=60)
        return actor

    async def begin(self, workflow: str, pause_s: float = 0.0) -> None:
        """Create a durable call of the five steps."""
        param = encode_invocation(Codec(), "five", [pause_s], {}, 1)
        tags = dict.fromkeys(("resonate:origin", "resonate:prefix", "resonate:branch", "resonate:parent"), workflow)
        status, data = await asyncio.to_thread(
            self.server.call,
            "promise.create",
            id=workflow,
            timeoutAt=int((time.time() + 300) * 1000),
            param=param.wire(),
            tags={**tags, "resonate:scope": "global", "resonate:target": self._target},
        )
        assert status == 200, (status, data)

    async def is_finished(self, workflow: str) -> bool:
        """Whether its promise is resolved with the right sum."""
        record = await asyncio.to_thread(self.server.promise, workflow)
        assert record is not None, f"{workflow} is gone"
        assert record["state"] in ("pending", "resolved"), record
        if record["state"] == "resolved":
            assert Codec().decode(record["value"]) == sum(10 * n for n in range(1, STEPS + 1))
        return bool(record["state"] == "resolved")

    def attempts(self) -> list[Attempt]:
        """The ledger."""
        if not self.ledger.exists():
            return []
        lines = self.ledger.read_text().splitlines()
        return [Attempt(float(at), name, int(step), int(pid)) for at, name, step, pid in map(str.split, lines)]

    def recorded(self) -> dict[str, float]:
        """Steps whose record was answered by the server, with the time at which the answer was seen."""
        found: dict[str, float] = {}
        for actor in self.actors:
            for step_id, at in actor.proxy.recorded().items():
                found[step_id] = min(at, found.get(step_id, at))
        return found

    def check_ledger(self, workflows: list[str]) -> None:
        """No step is missing, and none ran again after its record was answered."""
        attempts = self.attempts()
        by_step = Counter(attempt.step_id for attempt in attempts)
        recorded = self.recorded()
        for workflow in workflows:
            missing = [n for n in range(1, STEPS + 1) if not by_step[f"{workflow}.{n}"]]
            assert not missing, f"{workflow}: steps {missing} never ran"
        again = [one for one in attempts if one.step_id in recorded and one.at > recorded[one.step_id]]
        assert not again, f"ran again although their record had been answered: {again}"

    def check_fence(self) -> None:
        """Nothing was accepted under a version after a later one had been acquired."""
        acquired: dict[str, list[tuple[float, int]]] = defaultdict(list)
        answers = sorted((one for actor in self.actors for one in actor.proxy.answers), key=lambda one: one.at)
        for one in answers:
            if one.kind == "task.acquire" and one.status == 200:
                acquired[one.id].append((one.at, one.version + 1))
            elif one.status == 200 and one.version >= 0:
                newer = [version for at, version in acquired[one.task] if at < one.at and version > one.version]
                assert not newer, f"{one} was accepted although version {max(newer)} had been acquired"


@asynccontextmanager
async def stage(
    folder: Path, spawner: Spawner, amqp_url: str | None = None, mutant: str | None = None
) -> AsyncIterator[Stage]:
    """A running server; with `amqp_url` hints travel over that broker."""
    arguments = ["--transport", f"amqp={amqp_url}"] if amqp_url else []
    program = None if mutant is None else [sys.executable, "-m", "tests.crash.mutants", mutant]
    server = ServerProcess(folder, arguments, program)
    await asyncio.to_thread(server.start)
    one = Stage(folder, spawner, server, amqp_url)
    try:
        async with one._stack:
            yield one
    finally:
        await asyncio.to_thread(server.stop)
