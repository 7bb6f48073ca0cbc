"""What the machine gives without us, measured in the same run: the references the ratios are taken against."""

import asyncio
import contextlib
import sqlite3
import tempfile
import time
import uuid

import aio_pika
import aiohttp
import uvicorn
from starlette.types import Receive, Scope, Send

from benchmarks.figures import Measured, measured
from benchmarks.stack import free_port


def sqlite_commits(seconds: float) -> Measured:
    """Commit one random-id row at a time, WAL, synchronous=FULL."""
    taken: list[float] = []
    with tempfile.TemporaryDirectory(prefix="resonate-mq-bench-") as folder:
        database = sqlite3.connect(f"{folder}/bare.db", isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE t (id TEXT UNIQUE, data TEXT)")
        start = time.perf_counter()
        while (began := time.perf_counter()) < start + seconds:
            database.execute("INSERT INTO t VALUES (?, ?)", (uuid.uuid4().hex, "x" * 200))
            taken.append(time.perf_counter() - began)
        elapsed = time.perf_counter() - start
        database.close()
    return measured(taken, elapsed)


async def http_echo(seconds: float, concurrency: int) -> Measured:
    """POST to an ASGI application that answers at once (uvicorn and aiohttp in this process)."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(application, port=port, log_level="warning", lifespan="off"))
    serving = asyncio.ensure_future(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it by a flag
        await asyncio.sleep(0.01)
    taken: list[float] = []
    start = time.perf_counter()

    async def one_caller(session: aiohttp.ClientSession) -> None:
        while (began := time.perf_counter()) < start + seconds:
            async with session.post(f"http://127.0.0.1:{port}/", data=b"x" * 200) as answer:
                await answer.read()
            taken.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(one_caller(session))
    elapsed = time.perf_counter() - start
    server.should_exit = True
    await serving
    return measured(taken, elapsed)


async def amqp_round_trip(url: str, seconds: float) -> Measured:
    """Publish with confirm to a quorum queue and consume it, one message at a time."""
    taken: list[float] = []
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue(
            f"bench-{uuid.uuid4().hex}", durable=True, arguments={"x-queue-type": "quorum"}
        )
        arrived: asyncio.Queue[aio_pika.abc.AbstractIncomingMessage] = asyncio.Queue()
        await queue.consume(arrived.put)
        start = time.perf_counter()
        while (began := time.perf_counter()) < start + seconds:
            await channel.default_exchange.publish(aio_pika.Message(b"x" * 200, delivery_mode=2), queue.name)
            await (await arrived.get()).ack()
            taken.append(time.perf_counter() - began)
        elapsed = time.perf_counter() - start
        with contextlib.suppress(aio_pika.exceptions.AMQPError):
            await queue.delete(if_unused=False, if_empty=False)
    return measured(taken, elapsed)
