"""What happens in the demo: orders are placed, a worker and then the server are killed, everything is finished.

Owns the order of events. Each kill waits for progress it can see and for a step in flight; nothing is timed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resonate_mq.cli.branches import load
from resonate_mq.cli.connection import Session, open_session
from resonate_mq.cli.demo import ledger
from resonate_mq.cli.demo.cast import Process, ending, free_port
from resonate_mq.cli.demo.check import SERVER, WORKER, Kill, Verdict, judge
from resonate_mq.cli.demo.plan import GROUP, LEDGER, STEPS
from resonate_mq.cli.demo.view import OrderState, View
from resonate_mq.cli.invoke import call_param, call_tags
from resonate_mq.cli.output import CliError
from resonate_mq.protocol import requests as r
from resonate_mq.transports.port import TransportError

LEASE_S = 10.0  # the default: what a killed worker held is taken over after this long
CONCURRENCY = 3  # slots of a worker
LOOK_EVERY_S = 0.1
PATIENCE_S = 120.0  # after this long something is stuck
ANSWER_S = 1.0
WORKER_KILL_AT = 0.3  # share of recorded steps
SERVER_KILL_AT = 0.6


@dataclass
class Plot:
    """One run of the demo.

    Attributes:
        kills: what was killed so far.
        struck: by each kill, the keys of the steps that were in flight.
        back_s: seconds until the server's successor recorded a step.
    """

    folder: Path
    count: int
    transport: str | None
    view: View
    kills: list[Kill] = field(default_factory=list)
    struck: list[list[str]] = field(default_factory=list)
    back_s: float = 0.0
    _states: list[OrderState] = field(default_factory=list)
    _records: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def ledger(self) -> Path:
        """The file of side effects."""
        return self.folder / "ledger.jsonl"

    @property
    def orders(self) -> list[str]:
        """Ids of the orders."""
        return [f"order-{number:02d}" for number in range(1, self.count + 1)]

    @property
    def steps_done(self) -> int:
        """Steps recorded, as last seen."""
        return sum(order.done for order in self._states)

    async def run(self) -> tuple[Verdict, dict[str, Any]]:
        """Play it; return the verdict and the tree of one order.

        Raises:
            CliError: a process ended by itself, or the orders were not finished in time.
        """
        url = f"http://127.0.0.1:{free_port()}"
        processes = self._processes(url)
        with ending(processes):
            try:
                async with asyncio.timeout(PATIENCE_S), open_session(url, None) as session:
                    tree = await self._play(session, processes)
            except TimeoutError as error:
                raise CliError(f"the orders were not finished within {PATIENCE_S:g} s") from error
        expected = {f"{order}.{number}": step for order in self.orders for number, step in enumerate(STEPS, 1)}
        settled = {key: one["settledAt"] for key, one in self._records.items() if one["state"] == "resolved"}
        verdict = judge(ledger.read(self.ledger), expected, settled, self.kills)
        verdict.problems.extend(f"{one.id} ended as {one.state}" for one in self._states if one.state != "resolved")
        return verdict, tree

    async def _play(self, session: Session, processes: list[Process]) -> dict[str, Any]:
        server, victim, _ = processes
        self.view.tell("starting the server (SQLite) and two workers")
        for process in processes:
            process.start()
        await self._answering(session, server, 30.0)
        self.view.tell(f"placing {self.count} orders of {len(STEPS)} steps")
        await asyncio.gather(*(self._place(session, order) for order in self.orders))
        await self._kill_worker(session, processes, victim)
        await self._kill_server(session, processes, server)
        await self._until(session, processes, self._only_struck_orders_left)
        if any(one.state == "pending" for one in self._states):
            self.view.tell("what is left was held by the killed worker: waiting for its leases to end")
        await self._until(session, processes, lambda: all(one.state != "pending" for one in self._states))
        return await load(session, self._interesting(), 100)

    def _processes(self, url: str) -> list[Process]:
        address = url.removeprefix("http://")
        broker = [] if self.transport is None else ["--transport", f"amqp={self.transport}"]
        store = f"sqlite:///{self.folder / 'demo.db'}"
        serve = ["serve", "--store", store, "--listen", address, *broker]
        work = ["worker", "resonate_mq.cli.demo.orders:resonate", "--url", url, "--concurrency", str(CONCURRENCY)]
        work += ["--ttl", str(LEASE_S), *broker]
        environment = {LEDGER: str(self.ledger)}
        names = ("worker-a", "worker-b")
        return [
            Process(SERVER, serve, self.folder, {}),
            *(Process(name, work, self.folder, environment) for name in names),
        ]

    async def _answering(self, session: Session, server: Process, within_s: float) -> None:
        """Wait until the server answers; the connection itself tries again and again."""
        asking = asyncio.ensure_future(session.requester.call(r.ServerInfo(), deadline_s=within_s))
        while not asking.done():
            server.check_alive()
            await asyncio.wait([asking], timeout=LOOK_EVERY_S)
        try:
            await asking
        except TransportError as error:
            raise CliError(f"the demo's server does not answer: {error}; log: {server.log}") from error

    async def _place(self, session: Session, order: str) -> None:
        name = "poll" if self.transport is None else "amqp"
        tags = call_tags(order, "place_order", f"{name}://any@{GROUP}")
        timeout_at = int((time.time() + 3600) * 1000)
        await session.ask(r.PromiseCreate(order, timeout_at, call_param("place_order", [order], 1), tags))

    async def _kill_worker(self, session: Session, processes: Sequence[Process], victim: Process) -> None:
        share = self._share(WORKER_KILL_AT)
        await self._until(session, processes, lambda: self.steps_done >= share and bool(self._in_flight(victim.pid)))
        await self._kill(victim, WORKER, self._in_flight(victim.pid))
        victim.start()
        self.view.tell(
            f"{victim.name} starts again as pid {victim.pid}; the dead one's leases end within {LEASE_S:g} s"
        )

    async def _kill_server(self, session: Session, processes: Sequence[Process], server: Process) -> None:
        share = self._share(SERVER_KILL_AT)
        await self._until(session, processes, lambda: self.steps_done >= share and bool(self._in_flight(None)))
        await self._kill(server, SERVER, self._in_flight(None))
        before = self.steps_done
        server.start()
        await self._answering(session, server, 30.0)
        self.view.tell(f"the server is back as pid {server.pid}, on the same store")
        await self._until(session, processes, lambda: self.steps_done > before)
        self.back_s = time.time() - self.kills[-1].at_ms / 1000

    async def _kill(self, process: Process, what: str, in_flight: list[str]) -> None:
        kill = Kill(what, process.pid, int(time.time() * 1000))
        await process.sigkill()
        self.kills.append(kill)
        self.struck.append(in_flight)
        self.view.tell(
            f"SIGKILL to {process.name} (pid {kill.pid}): {self.steps_done} steps are recorded, "
            f"{len(in_flight)} {'of its ' if what == WORKER else ''}steps are in flight"
        )

    async def _until(self, session: Session, processes: Sequence[Process], condition: Callable[[], bool]) -> None:
        """Look at the promises until the condition holds."""
        while True:
            await self._look(session)
            if condition():
                return
            for process in processes:
                process.check_alive()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, session: Session) -> None:
        request = r.PromiseSearch(None, None, 1000)
        try:
            reply = await session.requester.call(request, deadline_s=ANSWER_S)
        except TransportError:
            return  # it was killed or is starting; what was seen last stays on the screen
        if not reply.ok:
            raise CliError(f"the demo's server refuses a search: {reply.data} ({reply.status})")
        self._records = {one["id"]: one for one in reply.data["promises"]}
        self._states = [self._state(order) for order in self.orders if order in self._records]
        self.view.show(self._states, len(STEPS))

    def _state(self, order: str) -> OrderState:
        done, running = 0, "waiting"
        for number, step in enumerate(STEPS, 1):
            record = self._records.get(f"{order}.{number}")
            if record is None:
                break
            if record["state"] == "resolved":
                done += 1
            else:
                running = step
        return OrderState(order, self._records[order]["state"], done, running)

    def _in_flight(self, pid: int | None) -> list[str]:
        """Return keys of steps that have begun (in one process, or anywhere) and have no record yet."""
        latest = {entry.key: entry for entry in ledger.read(self.ledger)}
        return [
            key
            for key, entry in latest.items()
            if pid in (None, entry.pid) and self._records.get(key, {}).get("state") != "resolved"
        ]

    def _only_struck_orders_left(self) -> bool:
        struck = {key.rpartition(".")[0] for key in self.struck[0]}
        return all(one.state != "pending" or one.id in struck for one in self._states)

    def taken_over_s(self) -> float:
        """Return the seconds from the worker's kill until the last of its steps in flight was done elsewhere."""
        done_at = [self._records[key]["settledAt"] for key in self.struck[0] if "settledAt" in self._records[key]]
        return (max(done_at, default=self.kills[0].at_ms) - self.kills[0].at_ms) / 1000

    def _share(self, share: float) -> int:
        return round(share * self.count * len(STEPS))

    def _interesting(self) -> str:
        """Return an order that lived through a kill."""
        keys = [entry.order for entry in ledger.read(self.ledger) if entry.attempt > 1]
        return keys[0] if keys else self.orders[0]
