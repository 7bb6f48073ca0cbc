"""Calling durable functions from outside: run, rpc, handles, ids, keys, options (B3, B4, B5, D13, D31, D35)."""

import asyncio
import dataclasses
import json
import logging
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest

from resonate_mq import Context, Resonate
from resonate_mq.errors import (
    EncodeError,
    RemoteError,
    ResonateCanceledError,
    ResonateStoreError,
    ResonateTimedoutError,
)
from resonate_mq.retry_policies import Constant, Never
from tests.support.serving import Clients


@dataclasses.dataclass
class Order:
    id: int
    items: list[str]


def soon(ms: int = 60_000) -> int:
    return int(time.time() * 1000) + ms


def refused(caught: pytest.ExceptionInfo[ResonateStoreError]) -> float:
    return caught.value.code


def test_every_kind_of_function_runs_and_is_called_every_way(client: Resonate) -> None:
    @client.register
    def plain(ctx: Context, n: int) -> int:
        return n + 1

    @client.register()
    def generator(ctx: Context, n: int) -> Generator[Any, Any, int]:
        m: int = yield ctx.run(plain, n)
        return m + 10

    @client.register(name="awaiting", version=2)
    async def coroutine(ctx: Context, n: int) -> int:
        return await ctx.run(plain, n) + 100

    for name, function, result in (("p", plain, 2), ("g", generator, 12), ("a", coroutine, 102)):
        assert function.run(f"{name}1", 1) == result
        assert function.begin_run(f"{name}2", 1).result(10) == result
        assert function.rpc(f"{name}3", 1) == result
        assert function.begin_rpc(f"{name}4", n=1).result(10) == result
        assert client.run(f"{name}5", function, 1) == result
        assert client.begin_run(f"{name}6", function.func, 1).result(10) == result
        assert client.rpc(f"{name}7", function.name, 1) == result
        assert client.begin_rpc(f"{name}8", func=function.name, n=1).result(10) == result
    assert coroutine.name == "awaiting"


def test_the_first_argument_is_the_context_with_the_id(client: Resonate) -> None:
    @client.register
    def who(ctx: Context, word: str) -> list[str]:
        return [ctx.id, word]

    assert who.run("some-id", "x") == ["some-id", "x"]


def test_parameters_named_id_and_func_reach_the_function(client: Resonate) -> None:
    @client.register
    def odd(ctx: Context, id: str, func: int) -> str:
        return f"{id}{func}"

    assert odd.run("a", id="x", func=1) == "x1"
    assert client.run("b", odd, id="x", func=2) == "x2"  # type: ignore[call-overload]
    assert client.rpc("c", "odd", "x", 3) == "x3"
    with pytest.raises(TypeError, match="missing the function"):
        client.run("d")  # type: ignore[call-overload]


def test_the_same_id_executes_once_whatever_the_arguments(client: Resonate) -> None:
    executions: list[str] = []

    @client.register
    def once(ctx: Context, word: str) -> str:
        executions.append(word)
        return word

    @client.register
    def other(ctx: Context) -> str:
        return "other"

    handles = [once.begin_run("same", f"w{n}") for n in range(5)]
    assert {handle.result(10) for handle in handles} == {executions[0]}
    assert once.run("same", "again") == executions[0]
    assert other.rpc("same") == executions[0]
    assert len(executions) == 1


def test_joining_a_settled_call_says_so(client: Resonate, caplog: pytest.LogCaptureFixture) -> None:
    @client.register
    def one(ctx: Context) -> int:
        return 1

    one.run("settled")
    with caplog.at_level(logging.INFO, "resonate_mq"):
        one.run("settled")
    assert any("returning its stored result" in record.getMessage() for record in caplog.records)


def test_an_id_taken_with_another_key_is_refused(client: Resonate) -> None:
    executions: list[int] = []

    @client.register
    def one(ctx: Context) -> int:
        executions.append(1)
        return 1

    assert one.options(idempotency_key="k").run("x") == 1
    assert one.options(idempotency_key=lambda id: "k").rpc("x") == 1
    for start in (one.run, one.rpc, one.begin_run, one.begin_rpc):
        with pytest.raises(ResonateStoreError) as caught:
            start("x")
        assert refused(caught) == 100.40399
    assert executions == [1]


def test_run_on_a_promise_without_task_waits_if_the_key_matches(client: Resonate) -> None:
    @client.register
    def never(ctx: Context) -> str:
        raise AssertionError("nothing must run")

    client.promises.create("keyed", soon(), ikey="keyed")
    client.promises.create("keyless", soon())
    handle = never.begin_run("keyed")
    assert not handle.done()
    client.promises.resolve("keyed", data=json.dumps("from outside"))
    assert handle.result(10) == "from outside"
    with pytest.raises(ResonateStoreError) as caught:
        never.run("keyless")
    assert refused(caught) == 100.40399


def test_get_finds_what_exists_and_refuses_what_does_not(client: Resonate) -> None:
    @client.register
    def order(ctx: Context) -> Order:
        return Order(1, ["a"])

    order.run("o")
    assert client.get("o").result(10) == Order(1, ["a"])
    with pytest.raises(ResonateStoreError) as caught:
        client.get("nobody")
    assert refused(caught) == 100.404


def test_values_keep_the_types_of_the_annotations(client: Resonate) -> None:
    @client.register
    def grow(ctx: Context, order: Order, extra: tuple[str, ...]) -> Order:
        return Order(order.id, [*order.items, *extra])

    assert grow.rpc("typed", Order(1, ["a"]), ("b", "c")) == Order(1, ["a", "b", "c"])


def test_an_argument_that_cannot_be_encoded_fails_the_caller_and_creates_nothing(client: Resonate) -> None:
    @client.register
    def one(ctx: Context, value: Any) -> int:
        return 1

    with pytest.raises(EncodeError, match=r"args\[0\]"):
        one.run("bad", object())
    with pytest.raises(TypeError):
        one.run("bad", 1, 2)  # type: ignore[call-arg]
    with pytest.raises(ResonateStoreError):
        client.promises.get("bad")


def test_an_error_arrives_as_it_was_raised(client: Resonate) -> None:
    @client.register(retry_policy=Never())
    def fail(ctx: Context) -> None:
        raise KeyError("missing", 7)

    for start in (fail.run, fail.rpc):
        with pytest.raises(KeyError) as caught:
            start(f"fails-{start.__name__}")
        assert caught.value.args == ("missing", 7)
    assert client.promises.get("fails-run").rejected


def test_a_foreign_rejection_and_a_cancellation_have_errors_of_their_own(client: Resonate) -> None:
    client.promises.create("r", soon())
    client.promises.create("c", soon())
    rejected, canceled = client.get("r"), client.get("c")
    client.promises.reject("r", data=json.dumps("no"))
    client.promises.cancel("c")
    with pytest.raises(Exception, match="no") as caught:
        rejected.result(10)
    assert not isinstance(caught.value, RemoteError) or str(caught.value) == "no"
    with pytest.raises(ResonateCanceledError):
        canceled.result(10)


def test_a_call_that_waits_for_ever_times_out(client: Resonate) -> None:
    @client.register
    def wait(ctx: Context) -> Generator[Any, Any, None]:
        yield (yield ctx.promise())

    started = time.monotonic()
    with pytest.raises(ResonateTimedoutError):
        wait.options(timeout=0.8).run("late")
    assert 0.7 < time.monotonic() - started < 5
    assert client.promises.get("late").timedout


def test_options_are_copies(client: Resonate) -> None:
    @client.register
    def one(ctx: Context) -> int:
        return 1

    assert one.options(timeout=5).run("a") == 1
    assert one.run("b") == 1
    assert client.options(timeout=5, tags={"t": "v"}).run("c", one) == 1
    assert client.run("d", one) == 1
    left = {id: client.promises.get(id).rel_timeout for id in "abcd"}
    assert left["a"] < 6 > left["c"]
    assert left["b"] > 10**7 < left["d"]
    assert client.promises.get("c").tags["t"] == "v"
    assert "t" not in client.promises.get("d").tags


def test_wrong_options_are_refused(client: Resonate) -> None:
    bad: list[dict[str, Any]] = [
        {"timeout": "5"},
        {"target": 5},
        {"tags": {"a": 1}},
        {"version": 1.5},
        {"encoder": object()},
    ]
    for wrong in bad:
        with pytest.raises(TypeError):
            client.options(**wrong)
    with pytest.raises(ValueError):
        client.options(timeout=-1)
    with pytest.raises(ValueError):
        client.options(version=-1)


def test_versions_live_side_by_side_for_functions_and_names(client: Resonate) -> None:
    @client.register(name="ver")
    def first(ctx: Context) -> int:
        return 1

    @client.register(name="ver", version=2)
    def second(ctx: Context) -> int:
        return 2

    assert (client.run("a", "ver"), client.rpc("b", "ver")) == (2, 2)
    assert (client.options(version=1).run("c", "ver"), client.options(version=1).rpc("d", "ver")) == (1, 1)
    assert (first.run("e"), second.run("f"), second.options(version=1).run("g")) == (1, 2, 1)
    with pytest.raises(ValueError, match="version 3 not found"):
        client.options(version=3).run("h", "ver")


def test_a_retry_policy_of_the_call_wins(client: Resonate) -> None:
    attempts: list[int] = []

    @client.register(retry_policy=Never())
    def flaky(ctx: Context) -> int:
        attempts.append(ctx.info.attempt)
        if len(attempts) < 3:
            raise OSError("again")
        return len(attempts)

    assert flaky.options(retry_policy=Constant(0.01)).run("r") == 3
    assert attempts == [1, 2, 3]


def test_an_encoder_of_the_call_writes_and_reads_what_is_stored(client: Resonate) -> None:
    class Shout:
        def encode(self, obj: Any) -> str:
            return "!" + json.dumps(obj)

        def decode(self, obj: str | None) -> Any:
            return None if obj is None else json.loads(obj[1:])

    @client.register
    def double(ctx: Context, n: int) -> Generator[Any, Any, int]:
        yield ctx.sleep(0.05)
        return 2 * n

    assert double.options(encoder=Shout()).run("e", 4) == 8
    assert client.promises.get("e").value.data == "!8"


def test_a_function_is_still_the_function() -> None:
    client = Resonate()

    @client.register
    def add(ctx: Context, a: int, b: int) -> int:
        """Add."""
        return a + b

    assert add(None, 1, 2) == 3
    assert (add.__name__, add.__doc__, add.name, add.version) == ("add", "Add.", "add", 1)
    assert add == add.func
    assert hash(add) == hash(add.func)
    assert add.options(timeout=1) == add
    assert not client._core.runtime.is_running


def test_registration_errors_are_immediate() -> None:
    client = Resonate()

    def one(ctx: Context) -> int:
        return 1

    async def stream(ctx: Context) -> Any:
        yield 1

    client.register(one)
    for name in (None, "other"):
        with pytest.raises(ValueError, match="already registered"):
            client.register(one, name=name)
    with pytest.raises(ValueError, match="lambda"):
        client.register(lambda ctx: 1)
    with pytest.raises(ValueError, match="async generator"):
        client.register(stream)
    with pytest.raises(ValueError, match="greater than zero"):
        client.register(version=0)(one)
    with pytest.raises(TypeError, match="name must be"):
        client.register(one, name=7)  # type: ignore[call-overload]
    assert not client._core.runtime.is_running


def test_an_unregistered_name_is_refused_at_once_in_local_mode() -> None:
    client = Resonate()
    for start in (client.run, client.rpc):
        with pytest.raises(ValueError, match="function nobody not found in registry"):
            start("x", "nobody")
    assert not client._core.runtime.is_running


def test_local_mode_delivers_every_target_here() -> None:
    client = Resonate()

    @client.register
    def here(ctx: Context) -> str:
        return ctx.id

    try:
        for number, target in enumerate(("anywhere", "poll://any@g", "amqp://any@g", "nats://subject")):
            assert client.options(target=target).rpc(f"t{number}", here) == f"t{number}"
    finally:
        client.stop()


def test_dependencies_are_the_very_objects(client: Resonate) -> None:
    database = object()

    @client.register
    def identity(ctx: Context) -> list[bool]:
        return [ctx.get_dependency("db") is database, ctx.get_dependency("none", 7) == 7]

    client.set_dependency("db", database)
    assert identity.run("i") == [True, True]
    with pytest.raises(TypeError):
        client.set_dependency(7, database)  # type: ignore[arg-type]


def test_a_dependency_is_opened_on_the_loop_of_the_bodies_and_closed_at_the_end(clients: Clients) -> None:
    client = clients(log_level="WARNING")
    events: list[Any] = []

    @client.dependency
    async def pool() -> Any:
        events.append(asyncio.get_running_loop())
        yield "the pool"
        events.append("closed")

    @client.register
    async def use(ctx: Context) -> Any:
        events.append(asyncio.get_running_loop())
        return ctx.get_dependency("pool")

    assert use.run("u") == "the pool"
    client.stop()
    assert events[0] is events[1]
    assert events[2] == "closed"


def test_start_is_harmless_twice_and_stop_can_be_followed_by_start(clients: Clients) -> None:
    client = clients(log_level="WARNING")

    @client.register
    def one(ctx: Context) -> int:
        return 1

    client.start()
    client.start()
    first = client.pid
    assert one.run("a") == 1
    client.stop()
    client.stop()
    assert one.run("b") == 1
    assert client.pid != first


def test_stopping_ends_waits_with_an_error_that_says_so(client: Resonate) -> None:
    from resonate_mq.errors import ResonateShutdownError

    client.promises.create("p", soon())
    handle = client.get("p")
    client.stop()
    with pytest.raises(ResonateShutdownError):
        handle.result(10)


def test_threads_can_call_at_the_same_time(client: Resonate) -> None:
    @client.register
    def double(ctx: Context, n: int) -> int:
        return 2 * n

    results: dict[int, int] = {}

    def call(n: int) -> None:
        results[n] = double.rpc(f"t{n}", n)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == {n: 2 * n for n in range(20)}


def test_a_prefix_stands_before_top_level_ids(clients: Clients) -> None:
    client = clients(log_level="WARNING", prefix="team")

    @client.register
    def who(ctx: Context) -> str:
        return ctx.id

    handle = who.begin_run("x")
    assert (handle.id, handle.result(10), client.get("x").result(10)) == ("team:x", "team:x", "team:x")
