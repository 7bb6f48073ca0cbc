"""AMQP under the suite: a RabbitMQ of the module's own, publisher and consumers through proxies that break lines."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aio_pika
import aio_pika.exceptions

from resonate_mq.protocol.messages import Hint
from resonate_mq.testing.transports import Fault
from resonate_mq.transports.amqp import AmqpTransport
from resonate_mq.transports.amqp.names import DEAD_QUEUE, queue_of
from resonate_mq.transports.port import ConsumingTransport, DeadLetter, Guarantees, PublishingTransport
from tests.support.eventually import eventually
from tests.support.proxy import ChaosProxy
from tests.transports.unbreakable import Unbreakable
from transports.rabbitmq.launcher import RabbitNode

RAFT_SETTLES_S = 2.5

_numbers = itertools.count()


class AmqpHarness(Unbreakable):
    name = "amqp"
    scheme = "amqp"
    guarantees: Guarantees = AmqpTransport.guarantees
    faults = frozenset(Fault)
    silence_s = 20.0
    outage_s = 10.0

    transport_class: type[AmqpTransport] = AmqpTransport
    """What is under test; a test of the suite itself puts a broken one here."""

    def __init__(self, node: RabbitNode, publishing: ChaosProxy, consuming: ChaosProxy) -> None:
        self._node = node
        self._publishing = publishing
        self._consuming = consuming
        self._prefix = f"case{next(_numbers)}-"
        self._dead: list[DeadLetter] = []
        self._cuts = 0
        self._born_s = time.monotonic()

    def group(self, name: str) -> str:
        return self._prefix + name

    def publisher(self) -> PublishingTransport:
        return self.transport_class(self.scheme, self._url(self._publishing))

    def consumer(self) -> ConsumingTransport:
        return self.transport_class(self.scheme, self._url(self._consuming))

    def misfit(self) -> PublishingTransport:
        return AmqpTransport(self.scheme, f"amqp://guest:open-sesame@127.0.0.1:{self._node.port}/")

    def consumer_command(self) -> Sequence[str]:
        return ["resonate_mq.transports.amqp:AmqpTransport", self.scheme, self._node.url]

    def acquired(self, hints: Sequence[Hint], pid: str) -> None:
        pass

    async def dead_letters(self) -> list[DeadLetter]:
        with contextlib.suppress(aio_pika.exceptions.AMQPError):  # the queue is just being made: the suite asks again
            await self._drain_dead_letters()
        return list(self._dead)

    async def _drain_dead_letters(self) -> None:
        async with await aio_pika.connect(self._node.url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(DEAD_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
            while (message := await queue.get(fail=False)) is not None:
                await message.ack()
                origin = str(message.headers["resonate-queue"])
                if self._prefix in origin:  # others are leftovers of an earlier case
                    reason = str(message.headers["resonate-reason"])
                    self._dead.append(DeadLetter(origin, message.body, reason))

    async def cut(self) -> None:
        self._cuts += 1
        if self._cuts % 2:
            await asyncio.to_thread(self._node.close_all_connections, "cut by a test")
        else:
            self._publishing.cut()
            self._consuming.cut()

    async def silence(self, side: str) -> None:
        (self._publishing if side == "publisher" else self._consuming).swallow()

    async def stall(self) -> None:
        await self._aged()
        await asyncio.to_thread(self._node.pause)

    async def unstall(self) -> None:
        await asyncio.to_thread(self._node.resume)

    async def kill_broker(self) -> None:
        await self._aged()
        await asyncio.to_thread(self._node.kill)

    async def _aged(self) -> None:
        """Let the case's queues grow older than a moment before the broker may die.

        RabbitMQ 3.10 killed within about a second of a quorum queue's birth never finds a leader for that queue again.
        No client can help that, and it is not what is tested here.
        """
        await eventually(lambda: time.monotonic() - self._born_s > RAFT_SETTLES_S, RAFT_SETTLES_S + 1)

    async def start_broker(self) -> None:
        await asyncio.to_thread(self._node.start)

    async def delete_queue(self, group: str) -> None:
        async with await aio_pika.connect(self._node.url) as connection:
            channel = await connection.channel()
            await channel.queue_delete(queue_of(self.group(group)))

    @staticmethod
    def _url(proxy: ChaosProxy) -> str:
        return f"amqp://guest:guest@127.0.0.1:{proxy.port}/"


@asynccontextmanager
async def amqp_harness(node: RabbitNode) -> AsyncIterator[AmqpHarness]:
    """A harness on a running node; the node runs again when the scope ends."""
    async with ChaosProxy.running(node.port) as publishing, ChaosProxy.running(node.port) as consuming:
        try:
            yield AmqpHarness(node, publishing, consuming)
        finally:
            await asyncio.to_thread(node.resume)
            if not await asyncio.to_thread(node.running):
                await asyncio.to_thread(node.start)
