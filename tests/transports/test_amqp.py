"""What is particular to RabbitMQ: topology, rights, URLs, alarms, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aio_pika
import pytest

from resonate_mq.protocol.addresses import parse_address
from resonate_mq.protocol.messages import Execute, Hint, encode_message
from resonate_mq.transports.amqp import AmqpTransport, confirms
from resonate_mq.transports.amqp.faults import translated
from resonate_mq.transports.port import Delivery, Outcome, Outgoing, Subscription, TransportError
from tests.support.eventually import eventually
from transports.rabbitmq.launcher import RabbitNode

pytestmark = pytest.mark.broker

KNOWN = frozenset({"amqp"})


class Worker:
    def __init__(self, group: str, credits: int = 10) -> None:
        self.tasks: list[str] = []
        self.states: list[tuple[bool, str]] = []
        self.subscription = Subscription(
            group=group,
            pid="p1",
            credits=credits,
            on_delivery=self._take,
            on_state=lambda flowing, reason: self.states.append((flowing, reason)),
        )

    def _take(self, delivery: Delivery) -> None:
        assert isinstance(delivery.message, Execute)
        self.tasks += [hint.task_id for hint in delivery.message.hints]
        delivery.ack()

    @property
    def trouble(self) -> str:
        return self.states[-1][1] if self.states else ""


def message(address: str, task_id: str = "t1") -> Outgoing:
    hints = (Hint(task_id, 1),)
    return Outgoing(parse_address(address, KNOWN), encode_message(Execute("s", None, hints)), f"{task_id}:1", 1, hints)


async def published(transport: AmqpTransport, outgoing: Outgoing, within_s: float = 15) -> tuple[Outcome, str]:
    reports: list[tuple[Outcome, str]] = []
    await transport.publish([outgoing], lambda _, outcome, reason: reports.append((outcome, reason)))
    await eventually(lambda: reports, within_s)
    return reports[0]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[AmqpTransport]:
    transport = AmqpTransport("amqp", url)
    async with transport.open():
        await eventually(lambda: transport.healthy()[0], 15, message="the broker is connected")
        yield transport


async def declare(url: str, name: str, **arguments: object) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(name, durable=True, arguments=arguments or None)  # type: ignore[arg-type]


async def test_a_queue_of_another_kind_is_named_with_what_was_found_and_what_to_do(amqp_url: str) -> None:
    await declare(amqp_url, "resonate.q.mismatch")  # classic
    worker = Worker("mismatch")
    async with opened(amqp_url) as transport, transport.subscribe(worker.subscription):
        await eventually(lambda: "resonate.q.mismatch" in worker.trouble, 15)
        outcome, reason = await published(transport, message("amqp://any@mismatch"))
        assert outcome is Outcome.FAILED
        for text in (reason, worker.trouble, transport.healthy()[1]):
            assert "'resonate.q.mismatch'" in text
            assert "quorum" in text
            assert "classic" in text
            assert "delete_queue" in text
        other = await published(transport, message("amqp://any@mismatch-not"))
        assert other == (Outcome.CONFIRMED, ""), "one bad queue must not harm another"


async def test_a_classic_queue_is_used_when_the_url_says_so(amqp_url: str) -> None:
    await declare(amqp_url, "resonate.q.fast")
    worker = Worker("fast")
    async with opened(f"{amqp_url}?queue_type=classic") as transport, transport.subscribe(worker.subscription):
        assert await published(transport, message("amqp://any@fast")) == (Outcome.CONFIRMED, "")
        await eventually(lambda: worker.tasks == ["t1"], 15)


async def test_a_raw_destination_is_a_queue_of_that_name_and_never_made_by_us(amqp_url: str) -> None:
    async with opened(amqp_url) as transport:
        outcome, reason = await published(transport, message("amqp://foreign%20queue%2F1"))
        assert (outcome, "'foreign queue/1'" in reason) == (Outcome.NO_CONSUMER, True), reason
        await declare(amqp_url, "foreign queue/1")
        assert await published(transport, message("amqp://foreign%20queue%2F1", "raw")) == (Outcome.CONFIRMED, "")
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("foreign queue/1")
        found = await queue.get()
        await found.ack()
        assert found.message_id == "raw:1"
        assert found.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
        assert found.expiration == 600.0
        await queue.delete()


async def test_vhost_user_and_password_may_contain_anything(own_rabbit: RabbitNode) -> None:
    vhost, user, password = "a/b c%", "us:er@x", "p@ss/w:rd?#é"
    for command in (
        ["add_vhost", vhost],
        ["add_user", user, password],
        ["set_permissions", "-p", vhost, user, ".*", ".*", ".*"],
    ):
        await asyncio.to_thread(own_rabbit.ctl, *command)
    quoted = [quote(part, safe="") for part in (user, password, vhost)]
    url = f"amqp://{quoted[0]}:{quoted[1]}@127.0.0.1:{own_rabbit.port}/{quoted[2]}"
    worker = Worker("g")
    async with opened(url) as transport, transport.subscribe(worker.subscription):
        assert await published(transport, message("amqp://any@g")) == (Outcome.CONFIRMED, "")
        await eventually(lambda: worker.tasks == ["t1"], 15)
        assert quoted[1] not in transport.shown_url


async def test_a_missing_vhost_is_explained(own_rabbit: RabbitNode) -> None:
    transport = AmqpTransport("amqp", f"amqp://guest:guest@127.0.0.1:{own_rabbit.port}/nowhere")
    async with transport.open():
        await eventually(lambda: "refuses the vhost" in transport.healthy()[1], 15)
        assert "add_vhost" in transport.healthy()[1]
        assert "nowhere" in transport.healthy()[1]


async def test_without_the_right_to_declare_an_existing_queue_is_used_and_a_missing_one_explained(
    own_rabbit: RabbitNode,
) -> None:
    await asyncio.to_thread(own_rabbit.ctl, "add_user", "modest", "secret")
    write, read = r"^(resonate\..*|amq\.gen.*|amq\.default)$", r"^(resonate\..*|amq\.gen.*)$"
    rights = ["-p", "/", "modest", r"^(amq\.gen.*|resonate\.uni)$", write, read]
    await asyncio.to_thread(own_rabbit.ctl, "set_permissions", *rights)
    await declare(own_rabbit.url, "resonate.q.made-by-operator", **{"x-queue-type": "quorum"})
    worker = Worker("made-by-operator")
    url = f"amqp://modest:secret@127.0.0.1:{own_rabbit.port}/"
    async with opened(url) as transport, transport.subscribe(worker.subscription):
        assert await published(transport, message("amqp://any@made-by-operator")) == (Outcome.CONFIRMED, "")
        await eventually(lambda: worker.tasks == ["t1"], 15)
        outcome, reason = await published(transport, message("amqp://any@not-there"))
        assert outcome is Outcome.FAILED
        assert "resonate.q.not-there" in reason
        assert "set_permissions" in reason


async def test_a_broker_in_alarm_is_reported_and_its_connection_kept(own_rabbit: RabbitNode) -> None:
    async with opened(own_rabbit.url) as transport:
        assert (await published(transport, message("amqp://any@alarm")))[0] is Outcome.CONFIRMED
        await asyncio.to_thread(own_rabbit.ctl, "set_vm_memory_high_watermark", "0.00001")
        try:
            outcome, _ = await published(transport, message("amqp://any@alarm"))
            assert outcome is Outcome.FAILED
            await eventually(lambda: "alarm" in transport.healthy()[1], 15)
        finally:
            await asyncio.to_thread(own_rabbit.ctl, "set_vm_memory_high_watermark", "0.4")
        await eventually(lambda: transport.healthy()[0], 15)
        assert (await published(transport, message("amqp://any@alarm")))[0] is Outcome.CONFIRMED


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    path = tmp_path / "broker.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", path, "-out", tmp_path / "cert"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + (tmp_path / "cert").read_bytes())
    return path


async def test_amqps_checks_the_certificate_of_the_broker(amqp_url: str, certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    port = int(amqp_url.rpartition("@")[2].rpartition("/")[0].rpartition(":")[2])

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(2**16):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

    terminator = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    base = f"amqps://guest:guest@127.0.0.1:{terminator.sockets[0].getsockname()[1]}/"
    worker = Worker("tls")
    async with opened(f"{base}?cafile={certificate}") as transport, transport.subscribe(worker.subscription):
        assert await published(transport, message("amqp://any@tls")) == (Outcome.CONFIRMED, "")
        await eventually(lambda: worker.tasks == ["t1"], 15)
    stranger = AmqpTransport("amqp", base)
    async with stranger.open():
        await eventually(lambda: "ertificate" in stranger.healthy()[1], 15)
        assert not stranger.healthy()[0]
    terminator.close()


async def test_a_consumer_the_broker_has_forgotten_is_started_anew(amqp_url: str) -> None:
    worker = Worker("forgotten")
    async with opened(amqp_url) as transport, transport.subscribe(worker.subscription):
        assert (await published(transport, message("amqp://any@forgotten", "before")))[0] is Outcome.CONFIRMED
        await eventually(lambda: worker.tasks == ["before"], 15)
        assert transport._life is not None
        session = transport._life.consumers[0]._session
        assert session is not None
        assert session._anycast is not None
        await session._anycast.basic_cancel(session._tag)  # behind its back
        assert (await published(transport, message("amqp://any@forgotten", "after")))[0] is Outcome.CONFIRMED
        await eventually(lambda: worker.tasks == ["before", "after"], 15)
        assert any("forgotten" in reason for _, reason in worker.states)


async def test_a_cancellation_that_the_driver_swallows_still_ends_our_loop() -> None:
    rounds = 0

    async def driver_call() -> None:
        nonlocal rounds
        rounds += 1
        with contextlib.suppress(asyncio.CancelledError):  # what `wait_for` did before Python 3.12
            await asyncio.get_running_loop().create_future()

    async def our_loop() -> None:
        while True:
            with translated("calling the driver"):
                await driver_call()

    loop = asyncio.ensure_future(our_loop())
    await eventually(lambda: rounds == 1)
    loop.cancel()
    await asyncio.wait({loop}, timeout=5)
    assert loop.cancelled()
    assert rounds == 1


async def test_a_cancellation_that_the_driver_makes_up_is_a_failure_of_the_transport() -> None:
    async def driver_call() -> None:
        raise asyncio.CancelledError

    with pytest.raises(TransportError, match="the connection was closed"), translated("calling the driver"):
        await driver_call()


async def test_transports_open_and_close_a_hundred_times_without_hanging(amqp_url: str) -> None:
    for number in range(100):
        worker = Worker(f"again-{number % 3}")
        async with asyncio.timeout(30), opened(amqp_url) as transport, transport.subscribe(worker.subscription):
            if number % 2:
                await published(transport, message(f"amqp://any@again-{number % 3}"))
                await eventually(lambda worker=worker: worker.tasks, 15)  # type: ignore[misc]


async def test_a_message_larger_than_brokers_take_is_refused_and_the_connection_kept(amqp_url: str) -> None:
    async with opened(amqp_url) as transport:
        huge = message("amqp://any@huge")._replace(payload=b"x" * 17_000_000)
        outcome, reason = await published(transport, huge)
        assert outcome is Outcome.FAILED
        assert "17000000 bytes" in reason
        assert await published(transport, message("amqp://any@huge")) == (Outcome.CONFIRMED, "")


async def test_a_consumer_says_why_it_cannot_start_and_nothing_when_all_is_well(amqp_url: str) -> None:
    well, unwell = Worker("well"), Worker("unwell")
    async with opened(amqp_url) as transport, transport.subscribe(well.subscription):
        await eventually(lambda: well.states, 15)
        assert well.states[0] == (True, "")
    astray = AmqpTransport("amqp", "amqp://guest:sesame@127.0.0.1:9/")
    async with astray.open(), astray.subscribe(unwell.subscription):
        await eventually(lambda: "cannot be reached" in unwell.trouble, 15)
        assert "127.0.0.1:9" in unwell.trouble
        assert "sesame" not in unwell.trouble


async def test_large_messages_are_bounded_by_bytes_before_the_window_is_full(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirms, "MAX_WINDOW_BYTES", 1_000_000)
    async with opened(amqp_url) as transport:
        assert transport._life is not None
        session = transport._life.publisher._session
        assert session is not None
        window, most, reports = session.window, 0, list[Outcome]()

        def report(_: Outgoing, outcome: Outcome, reason: str) -> None:
            nonlocal most
            most = max(most, window._bytes)
            reports.append(outcome)

        large = [message("amqp://any@large", f"t{n}")._replace(payload=b"x" * 400_000) for n in range(20)]
        await transport.publish(large, report)
        await eventually(lambda: len(reports) == 20, 20)
        assert set(reports) == {Outcome.CONFIRMED}
        assert most <= 1_000_000 + 400_000
        assert window._bytes == 0
