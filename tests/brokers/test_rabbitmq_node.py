"""The launcher: a RabbitMQ of our own that survives restart and SIGKILL and stalls on SIGSTOP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import aio_pika
import pytest

from tests.support.eventually import eventually
from tests.support.processes import ROOT
from transports.rabbitmq.launcher import RabbitNode, backend
from transports.rabbitmq.native import NativeNode, reap_abandoned
from transports.rabbitmq.node import accepts_amqp

pytestmark = pytest.mark.broker


async def put(url: str, queue: str) -> None:
    """Publish one persistent message, with a confirm, to a durable quorum queue."""
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key=queue)


async def take(url: str, queue: str) -> bytes | None:
    """What lies in the queue, or None while the queue elects its leader after a restart."""
    connection = await aio_pika.connect(url)
    try:
        channel = await connection.channel()
        got = await (await channel.get_queue(queue)).get(no_ack=True, fail=False, timeout=2)
        return got.body if got else None
    except (TimeoutError, aio_pika.exceptions.AMQPError):
        return None
    finally:
        await connection.close()


async def test_confirmed_messages_survive_a_restart_and_sigkill(own_rabbit: RabbitNode) -> None:
    # One queue for both: RabbitMQ 3.10 never elects a leader for a quorum queue that was declared less than some
    # seconds before a SIGKILL (seen with a single node; a queue that lived through a restart is safe).
    url = own_rabbit.url
    await put(url, "kept")
    await asyncio.to_thread(own_rabbit.restart)
    assert own_rabbit.url == url
    assert await eventually(lambda: take(url, "kept"), within_s=30) == b"kept"
    await put(url, "kept")
    own_rabbit.kill()
    assert not own_rabbit.running()
    assert not accepts_amqp(own_rabbit.port)
    await asyncio.to_thread(own_rabbit.start)
    assert await eventually(lambda: take(url, "kept"), within_s=30) == b"kept"


async def test_a_paused_node_answers_nobody_until_it_is_resumed(own_rabbit: RabbitNode) -> None:
    own_rabbit.pause()
    try:
        assert not await asyncio.to_thread(accepts_amqp, own_rabbit.port, 0.5)
        assert own_rabbit.running()
    finally:
        own_rabbit.resume()
    assert await asyncio.to_thread(accepts_amqp, own_rabbit.port, 10.0)


async def test_closing_all_connections_reaches_a_client(own_rabbit: RabbitNode) -> None:
    connection = await aio_pika.connect(own_rabbit.url)
    closed = asyncio.Event()
    connection.close_callbacks.add(lambda *_: closed.set())
    await asyncio.to_thread(own_rabbit.close_all_connections)
    await asyncio.wait_for(closed.wait(), 10)


def test_a_node_whose_starter_was_killed_is_ended_by_the_next_run(tmp_path: Path) -> None:
    if backend() != "native":
        pytest.skip("compose projects are found again by name")
    code = "import sys, time; from pathlib import Path; from transports.rabbitmq.native import NativeNode\n"
    code += "NativeNode('orphan', Path(sys.argv[1])).start(); print('up', flush=True); sys.stdin.read()"
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "orphan")],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"up\n"
    starter.kill()
    starter.wait()
    orphan = NativeNode("orphan", tmp_path / "orphan")
    assert orphan.running()
    reap_abandoned(tmp_path)
    assert not orphan.running()
    assert not (tmp_path / "orphan").exists()
