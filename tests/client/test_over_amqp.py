"""The same calls behind a real RabbitMQ: one URL is all that changes."""

import uuid
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from resonate_mq import Context, Resonate
from resonate_mq.errors import ResonateStoreError
from tests.support.eventually import eventually_sync
from tests.support.extensions import ENABLED
from tests.support.serving import Clients, ServerThread

pytestmark = pytest.mark.broker


@pytest.fixture
def rabbit(amqp_url: str) -> Iterator[Clients]:
    """Make clients that consume from the broker, of a server that publishes to it."""
    with ServerThread(transports={"amqp": amqp_url}, default_transport="amqp") as server:
        clients = Clients(url=server.url)
        try:
            yield clients
        finally:
            clients.stop_all()


def behind_the_broker(group: str) -> str:
    """The group's target: its name alone only where the server says that the broker is its default."""
    return group if "server.info" in ENABLED else f"amqp://any@{group}"


def test_a_client_group_calls_a_worker_group_through_the_broker(rabbit: Clients, amqp_url: str) -> None:
    group = f"workers-{uuid.uuid4().hex[:8]}"
    worker = rabbit(group=group, transport=amqp_url, log_level="WARNING")

    @worker.register
    def double(ctx: Context, n: int) -> int:
        return 2 * n

    @worker.register
    def tree(ctx: Context, n: int) -> Generator[Any, Any, int]:
        first = yield ctx.begin_rpc(double, n)
        second = yield ctx.begin_rpc(double, n + 1)
        yield ctx.sleep(0.1)
        total: int = (yield first) + (yield second)
        return total

    worker.start()
    caller = rabbit(group=f"client-{uuid.uuid4().hex[:8]}", transport=amqp_url, worker=False, log_level="WARNING")
    # a server that does not say so has no broker as far as a bare group or the own one is concerned
    default = "amqp" if "server.info" in ENABLED else "poll"
    assert caller.options(target=behind_the_broker(group)).rpc("tree", "tree", 3) == 14
    assert caller.promises.get("tree").tags["resonate:target"] == f"amqp://any@{group}"
    assert caller.promises.get("tree.1").tags["resonate:target"] == f"{default}://any@{group}"
    handles = [caller.options(target=behind_the_broker(group)).begin_rpc(f"many-{n}", "double", n) for n in range(100)]
    assert [handle.result(30) for handle in handles] == [2 * n for n in range(100)]
    # the first call may have come before the broker was connected; by now results come by it
    assert caller._core.runtime.opened.listeners.address.startswith(f"{default}://uni@client-")


def test_a_worker_behind_the_broker_is_still_reached_by_polling_targets(rabbit: Clients, amqp_url: str) -> None:
    group = f"workers-{uuid.uuid4().hex[:8]}"
    worker = rabbit(group=group, transport=amqp_url, log_level="WARNING")

    @worker.register
    def one(ctx: Context) -> int:
        return 1

    worker.start()
    caller = rabbit(group="poller", worker=False, log_level="WARNING")
    assert caller.options(target=f"poll://any@{group}").rpc("p", "one") == 1
    assert caller.options(target=f"amqp://any@{group}").rpc("a", "one") == 1


def test_a_worker_without_the_broker_keeps_its_own_calls_where_it_listens(rabbit: Clients) -> None:
    worker = rabbit(group=f"pollers-{uuid.uuid4().hex[:8]}", log_level="WARNING")

    @worker.register
    def parent(ctx: Context) -> Generator[Any, Any, int]:
        value: int = yield ctx.rpc(child)
        return value

    @worker.register
    def child(ctx: Context) -> int:
        return 7

    assert parent.rpc("own") == 7
    assert worker.promises.get("own.1").tags["resonate:target"].startswith("poll://any@pollers-")


def test_an_unknown_broker_address_is_refused_by_name(rabbit: Clients) -> None:
    caller = rabbit(worker=False, log_level="WARNING")
    # a server that says what it has need not be asked
    refusal = ValueError if "server.info" in ENABLED else ResonateStoreError
    with pytest.raises(refusal, match="'kafka' is not configured"):
        caller.options(target="kafka://any@g").begin_rpc("x", "f")


def test_work_waits_in_the_broker_for_a_worker_that_comes_later(rabbit: Clients, amqp_url: str) -> None:
    group = f"late-{uuid.uuid4().hex[:8]}"
    caller = rabbit(worker=False, log_level="WARNING")
    handles = [caller.options(target=behind_the_broker(group)).begin_rpc(f"late-{n}", "one") for n in range(10)]
    assert not any(handle.done() for handle in handles)
    worker: Resonate = rabbit(group=group, transport=amqp_url, log_level="WARNING")

    @worker.register
    def one(ctx: Context) -> int:
        return 1

    worker.start()
    assert [handle.result(20) for handle in handles] == [1] * 10
    eventually_sync(lambda: caller.promises.get("late-9").resolved)
