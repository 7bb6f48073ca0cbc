"""A worker whose token the server does not take: it says so and keeps nobody else from the work."""

from resonate_mq import Context
from resonate_mq.server import Server, ServerOptions
from resonate_mq.stores.memory import MemoryStore
from resonate_mq.transports.inprocess import InProcessTransport
from resonate_mq.transports.poll.hub import PollHub
from tests.support.eventually import eventually
from tests.support.extensions import ENABLED
from tests.worker.harness import invocation, working


def where(ctx: Context) -> str:
    return "ran"


async def test_a_worker_without_the_right_token_gives_hints_back_and_is_not_ready() -> None:
    broker = InProcessTransport("amqp")
    options = ServerOptions(port=0, extensions=ENABLED, token="right")
    async with Server(store=MemoryStore(), transports=[PollHub("poll"), broker], options=options) as server:
        url = str(server.url)
        pure = working(url, where, pid="caller", group="callers", transport=broker, token="right")
        async with pure as caller, working(url, where, pid="wrong", transport=broker, token="wrong") as wrong:
            assert (await caller.requester.call(invocation("w1", "where", target="amqp://any@g"))).ok
            await eventually(lambda: "refuses this worker (401" in wrong.worker.ready()[1], within_s=20)
            assert wrong.worker.running == 0
            async with working(url, where, pid="right", transport=broker, token="right") as right:
                await eventually(lambda: right.worker.counters.value("acquired") == 1, within_s=6)  # no re-send: 10 s
                assert await caller.result("w1") == "ran"
