"""Servers that come late, ends of one's own, bodies that are refused, values nobody can read (B20, CL-03, D35)."""

import functools
import json
import logging
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from resonate_mq import Context, Resonate
from resonate_mq.errors import DecodeError, NonDeterminismError, ResonateShutdownError, ResonateStoreError
from resonate_mq.retry_policies import Constant, Never
from resonate_mq.transports.api.http import HttpChannel
from resonate_mq.transports.poll.client import PollTransport
from tests.support.eventually import eventually_sync
from tests.support.processes import free_port
from tests.support.serving import Clients, ServerThread


def soon() -> int:
    return int(time.time() * 1000) + 60_000


def test_resolving_right_before_the_result_harms_nothing(client: Resonate) -> None:
    @client.register
    def wait(ctx: Context, gate: str) -> Generator[Any, Any, Any]:
        return (yield (yield ctx.promise(id=gate)))

    for number in range(60):
        gate = f"gate-{number}"
        handle = wait.begin_run(f"w{number}", gate)
        resolve = functools.partial(_resolved, client, gate, str(number))
        eventually_sync(resolve, within_s=20, every_s=0)
        assert handle.result(20) == number


def test_data_that_is_no_json_fails_who_awaits_it_and_nobody_else(client: Resonate) -> None:
    @client.register
    def wait(ctx: Context) -> Generator[Any, Any, Any]:
        try:
            yield (yield ctx.promise(id="broken"))
        except DecodeError as error:
            return type(error).__name__

    client.promises.create("broken", soon())
    handle = wait.begin_run("w")
    client.promises.resolve("broken", data="{not json")
    assert handle.result(20) == "DecodeError"
    with pytest.raises(DecodeError, match="not JSON"):
        client.get("broken").result(10)


def test_a_body_cannot_call_what_nobody_has_in_local_mode() -> None:
    client = Resonate()

    @client.register(retry_policy=Never())
    def calls(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.rpc("nobody")

    try:
        with pytest.raises(ValueError, match="function nobody not found in registry"):
            calls.run("c")
    finally:
        client.stop()


def test_a_client_may_be_started_before_its_server() -> None:
    port = free_port()
    clients = Clients(url=f"http://127.0.0.1:{port}")
    client = clients(log_level="ERROR")

    @client.register
    def one(ctx: Context) -> int:
        return 1

    try:
        client.start()
        handle = None
        with ServerThread(port=port):
            handle = one.begin_rpc("late")
            assert handle.result(30) == 1
    finally:
        clients.stop_all()


def test_waiting_survives_a_server_that_restarts(tmp_path: Any) -> None:
    port = free_port()
    clients = Clients(url=f"http://127.0.0.1:{port}")
    store = f"sqlite:///{tmp_path}/server.db"
    client = clients(log_level="ERROR")
    try:
        with ServerThread(store, port=port):
            client.promises.create("p", soon())
            handle = client.get("p")
        with ServerThread(store, port=port):
            clients(log_level="ERROR").promises.resolve("p", data=json.dumps("after"))
            assert handle.result(30) == "after"
    finally:
        clients.stop_all()


def test_waiting_for_what_a_server_has_forgotten_ends_with_not_found() -> None:
    port = free_port()
    client = Resonate.remote(url=f"http://127.0.0.1:{port}", log_level="CRITICAL")
    try:
        with ServerThread(port=port):
            client.promises.create("p", soon())
            handle = client.get("p")
        with ServerThread(port=port), pytest.raises(ResonateStoreError) as caught:  # in memory: begins empty
            handle.result(30)
        assert caught.value.code == 100.404
    finally:
        client.stop()


def test_a_pure_client_executes_nothing() -> None:
    client = Resonate.remote(worker=False, log_level="WARNING")
    client.register(_one)
    with pytest.raises(ValueError, match="worker=False"):
        client.run("x", _one)


def test_an_untaken_call_is_logged_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    with ServerThread() as server:
        client = Resonate.remote(url=server.url, worker=False, log_level="WARNING")
        client._core.invocations._untaken._patience_s = 0.2
        try:
            with caplog.at_level(logging.WARNING, "resonate_mq"):
                client.options(target="nobody-there").begin_rpc("untaken", "f")
                eventually_sync(lambda: any("no worker has taken untaken" in line for line in _lines(caplog)))
            line = next(line for line in _lines(caplog) if "no worker has taken" in line)
            assert "poll://any@nobody-there" in line
            assert "resonate-mq doctor" in line
        finally:
            client.stop()


def test_a_token_opens_every_door_and_its_lack_closes_them() -> None:
    with ServerThread(token="secret") as server:
        known = Resonate.remote(url=server.url, token="secret", log_level="ERROR")
        stranger = Resonate.remote(url=server.url, worker=False, log_level="CRITICAL")
        known.register(_one)
        try:
            assert known.run("a", _one) == 1
            assert known.rpc("b", _one) == 1
            for call in (lambda: stranger.promises.get("a"), lambda: stranger.begin_rpc("c", "_one")):
                with pytest.raises(ResonateStoreError) as caught:
                    call()
                assert caught.value.code == 100.401
        finally:
            known.stop()
            stranger.stop()


def test_a_backlog_is_shared_by_the_workers_of_a_group() -> None:
    with ServerThread() as server:
        clients = Clients(url=server.url)
        seen: dict[str, int] = {}
        for name in ("first", "second"):
            worker = clients(group="pair", pid=name, concurrency=2, log_level="WARNING")

            def busy(ctx: Context, n: int, name: str = name) -> int:
                seen[name] = seen.get(name, 0) + 1
                eventually_sync(lambda: len(seen) == 2, within_s=20)
                return n

            worker.register(busy)
            worker.start()
        caller = clients(worker=False, log_level="WARNING").options(target="pair")
        try:
            handles = [caller.begin_rpc(f"b{n}", "busy", n) for n in range(40)]
            assert [handle.result(30) for handle in handles] == list(range(40))
            assert set(seen) == {"first", "second"}
        finally:
            clients.stop_all()


def test_a_channel_and_a_transport_of_ones_own_plug_in() -> None:
    with ServerThread() as server:
        client = Resonate(store=HttpChannel(server.url), message_source=PollTransport("poll", server.url), group="own")
        client.register(_one)
        try:
            assert client.run("a", _one) == 1
            assert client.rpc("b", _one) == 1
            assert client.promises.get("b").tags["resonate:target"] == "poll://any@own"
        finally:
            client.stop()


def test_defaults_of_a_registration_hold_for_its_calls() -> None:
    client = Resonate()
    attempts: list[int] = []

    @client.register(timeout=5, retry_policy=Constant(0.01), non_retryable_exceptions=(KeyError,))
    def picky(ctx: Context) -> None:
        attempts.append(ctx.info.attempt)
        raise OSError("again") if len(attempts) < 3 else KeyError("enough")

    try:
        with pytest.raises(KeyError):
            picky.run("p")
        assert attempts == [1, 2, 3]
        assert client.promises.get("p").rel_timeout < 6
        attempts.clear()
        with pytest.raises(OSError, match="again"):
            picky.options(non_retryable_exceptions=(OSError,), timeout=9).run("q")
        assert attempts == [1]
        assert 6 < client.promises.get("q").rel_timeout < 10
    finally:
        client.stop()


@pytest.mark.parametrize(("store", "times"), [(None, 3), ("sqlite:///{}/app.db", 1)])
def test_memory_replays_at_every_suspension_and_a_file_keeps_bodies(
    tmp_path: Path, store: str | None, times: int
) -> None:
    client = Resonate.local(store=store and store.format(tmp_path), log_level="WARNING")
    entered: list[int] = []
    steps: list[int] = []

    def step(ctx: Context, n: int) -> int:
        steps.append(n)
        return n

    @client.register
    def body(ctx: Context) -> Generator[Any, Any, int]:
        entered.append(1)
        total = 0
        for number in (1, 2):
            total += yield ctx.run(step, number)
            yield ctx.sleep(0.05)
        return total

    try:
        assert body.run("b") == 3
        assert (len(entered), steps) == (times, [1, 2])
    finally:
        client.stop()


def test_code_that_is_not_deterministic_fails_in_local_mode() -> None:
    client = Resonate()
    coin = iter(["heads", "tails", "heads"])

    @client.register
    def gamble(ctx: Context) -> Generator[Any, Any, str]:
        side = next(coin)
        yield ctx.run(heads if side == "heads" else tails)
        yield ctx.sleep(0.02)
        return side

    def heads(ctx: Context) -> int:
        return 1

    def tails(ctx: Context) -> int:
        return 0

    try:
        with pytest.raises(NonDeterminismError, match=r"tails[\s\S]*heads|heads[\s\S]*tails"):
            gamble.run("g")
    finally:
        client.stop()


def test_an_implicit_start_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "resonate_mq"):
        client = Resonate(group="quiet")
        client.register(_one)
        try:
            assert (client.run("a", _one), client.run("b", _one)) == (1, 1)
        finally:
            client.stop()
    assert [line for line in _lines(caplog) if line.startswith("started:")] == [
        f"started: local mode, store memory://, group quiet, pid {client.pid}"
    ]


def test_a_dependency_that_cannot_be_opened_fails_the_start() -> None:
    client = Resonate()

    @client.dependency(name="database")
    async def broken() -> Any:
        raise ConnectionError("no database here")
        yield

    for _ in range(2):
        with pytest.raises(ConnectionError, match="no database here"):
            client.start()
    assert not client._core.runtime.is_running


def test_no_call_hangs_however_often_the_client_is_stopped_under_it() -> None:
    client = Resonate(ttl=60)
    client.register(_one)
    outcomes: dict[str, int] = {}
    over = threading.Event()

    def call(name: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            try:
                outcome = str(client.run(f"{name}-{number}", _one))
            except ResonateShutdownError:
                outcome = "stopped"
            outcomes[outcome] = outcomes.get(outcome, 0) + 1

    threads = [threading.Thread(target=call, args=(name,), daemon=True) for name in "abcd"]
    for thread in threads:
        thread.start()
    for _ in range(12):
        done = outcomes.get("1", 0)
        eventually_sync(lambda done=done: outcomes.get("1", 0) >= done + 10, within_s=20)  # type: ignore[misc]
        began = time.monotonic()
        client.stop()
        assert time.monotonic() - began < 10, "something held on until its lease was over"
    over.set()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert set(outcomes) == {"1", "stopped"}
    client.stop()


def test_the_public_names_are_these() -> None:
    import resonate_mq

    assert sorted(resonate_mq.__all__) == [
        "Context",
        "DurablePromise",
        "DurablePromiseValue",
        "Function",
        "Handle",
        "Promise",
        "Resonate",
        "Schedule",
        "Yieldable",
    ]
    for name in resonate_mq.__all__:
        assert getattr(resonate_mq, name) is not None
    with pytest.raises(AttributeError):
        resonate_mq.nothing  # noqa: B018


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def _resolved(client: Resonate, id: str, data: str) -> bool:
    try:
        return client.promises.resolve(id, data=data).resolved
    except ResonateStoreError:
        return False


def _one(ctx: Context) -> int:
    return 1
