"""Server and worker while their RabbitMQ is away: work is accepted, the trouble is explained, everything finishes."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from resonate_mq import Context
from resonate_mq.protocol.messages import Execute
from resonate_mq.transports.amqp import AmqpTransport
from resonate_mq.transports.port import Delivery, Subscription
from tests.support.eventually import eventually, eventually_sync
from tests.support.serving import Clients, ServerThread
from tests.transports.amqp_harness import RAFT_SETTLES_S
from transports.rabbitmq.launcher import RabbitNode

pytestmark = pytest.mark.broker


def ready(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def create(url: str, promise_id: str, target: str) -> int:
    data = {
        "id": promise_id,
        "timeoutAt": int(time.time() * 1000) + 600_000,
        "param": {},
        "tags": {"resonate:target": target},
    }
    head = {"corrId": promise_id, "version": "2026-04-01"}
    body = json.dumps({"kind": "promise.create", "head": head, "data": data}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/", body), timeout=10) as response:
        answer: dict[str, Any] = json.loads(response.read())
    return int(answer["head"]["status"])


async def test_with_the_broker_down_at_the_start_work_is_accepted_and_drains_by_age(own_rabbit: RabbitNode) -> None:
    await asyncio.to_thread(own_rabbit.kill)
    tasks: list[str] = []

    def on_delivery(delivery: Delivery) -> None:
        assert isinstance(delivery.message, Execute)
        tasks.extend(hint.task_id for hint in delivery.message.hints)
        delivery.ack()

    try:
        with ServerThread(transports={"amqp": own_rabbit.url}) as server:
            await eventually(lambda: "cannot be reached" in ready(server.url)[1], 20)
            status, reason = ready(server.url)
            assert status == 503
            assert "guest:***@127.0.0.1" in reason
            ids = [f"order-{number}" for number in range(40)]
            for promise_id in ids:
                assert await asyncio.to_thread(create, server.url, promise_id, "amqp://any@backlog") == 200
            transport = AmqpTransport("amqp", own_rabbit.url)
            subscription = Subscription(
                group="backlog", pid="p1", credits=1, on_delivery=on_delivery, on_state=lambda *_: None
            )
            async with transport.open(), transport.subscribe(subscription):
                await asyncio.to_thread(own_rabbit.start)
                await eventually(lambda: len(set(tasks)) == 40, 30)
                assert list(dict.fromkeys(tasks)) == ids
                await eventually(lambda: ready(server.url)[0] == 200, 20)
    finally:
        await asyncio.to_thread(own_rabbit.start)


@pytest.mark.parametrize("outage", ["killed and restarted", "frozen for a while"])
def test_calls_finish_although_the_broker_is(outage: str, own_rabbit: RabbitNode) -> None:
    group = f"outage-{outage.split()[0]}"
    runs: list[int] = []
    with ServerThread(transports={"amqp": own_rabbit.url}, default_transport="amqp") as server:
        clients = Clients(url=server.url)
        try:
            worker = clients(group=group, transport=own_rabbit.url, log_level="ERROR")

            @worker.register
            def square(ctx: Context, n: int) -> int:
                runs.append(n)
                return n * n

            worker.start()
            born_s = time.monotonic()
            handles = [worker.begin_rpc(f"{group}-warm-{n}", "square", n) for n in range(20)]
            assert [handle.result(60) for handle in handles] == [n * n for n in range(20)]
            eventually_sync(lambda: time.monotonic() - born_s > RAFT_SETTLES_S, RAFT_SETTLES_S + 1)
            handles = [worker.begin_rpc(f"{group}-{n}", "square", n) for n in range(100)]
            if outage.startswith("killed"):
                own_rabbit.kill()
            else:
                own_rabbit.pause()
            handles += [worker.begin_rpc(f"{group}-{n}", "square", n) for n in range(100, 150)]
            eventually_sync(lambda: ready(server.url)[0] == 503, 30)
            if outage.startswith("killed"):
                own_rabbit.start()
            else:
                own_rabbit.resume()
            assert [handle.result(60) for handle in handles] == [n * n for n in range(150)]
            assert sorted(runs) == sorted([*range(20), *range(150)]), "no call ran twice"
        finally:
            own_rabbit.resume()
            own_rabbit.start()
            clients.stop_all()
