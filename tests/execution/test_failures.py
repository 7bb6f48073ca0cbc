"""What goes wrong in user code, and what its caller sees of it (features B7, B8, DU-19 to DU-23, B20)."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from resonate_mq.functions.context import Context
from resonate_mq.functions.errors import (
    DeadlockError,
    DecodeError,
    EncodeError,
    RemoteError,
    ResonateStoreError,
    ResonateTimedoutError,
)
from resonate_mq.functions.retry import Constant, Linear, Never
from resonate_mq.protocol import requests as r
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.records import Value
from resonate_mq.worker.execution import Execution, Fulfilled, Lost, Released
from tests.support.machine_session import FULL, MachineSession, World


class Flaky:
    """Fails a number of times, then gives its attempt."""

    def __init__(self, failures: int, error: Callable[[], BaseException] = lambda: OSError("flaky")) -> None:
        self.failures = failures
        self.error = error
        self.attempts: list[int] = []

    def plain(self, ctx: Context) -> int:
        self.attempts.append(ctx.info.attempt)
        if len(self.attempts) <= self.failures:
            raise self.error()
        return ctx.info.attempt

    async def asynchronous(self, ctx: Context) -> int:
        return self.plain(ctx)


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
async def test_a_leaf_is_retried_by_its_policy_and_sees_its_attempt(kind: str) -> None:
    flaky = Flaky(2)

    def body(ctx: Context) -> Any:
        return (yield ctx.run(getattr(flaky, kind)).options(retry_policy=Constant(0.01)))

    assert await World().run("x", body) == 3
    assert flaky.attempts == [1, 2, 3]


async def test_retries_end_with_the_policy_and_the_last_error_is_raised() -> None:
    flaky = Flaky(9)

    def body(ctx: Context) -> Any:
        try:
            yield ctx.run(flaky.plain).options(retry_policy=Constant(0.01, max_retries=2))
        except OSError as error:
            return str(error)

    assert await World().run("x", body) == "flaky"
    assert flaky.attempts == [1, 2, 3]


async def test_no_retry_is_made_that_would_start_after_the_deadline() -> None:
    flaky = Flaky(99)

    def body(ctx: Context) -> Any:
        yield ctx.run(flaky.plain).options(retry_policy=Linear(0.1), timeout=0.5)

    world = World()
    with pytest.raises(OSError, match="flaky"):
        await world.run("x", body)
    assert len(flaky.attempts) == 3
    assert (world.record("x.1") or {})["state"] == "rejected"


@pytest.mark.parametrize("error", [KeyError("a"), LookupError("b")])
async def test_listed_exceptions_and_their_subclasses_are_not_retried(error: Exception) -> None:
    flaky = Flaky(9, lambda: error)

    def body(ctx: Context) -> Any:
        yield ctx.run(flaky.plain).options(non_retryable_exceptions=(LookupError,))

    with pytest.raises(type(error)):
        await World().run("x", body)
    assert flaky.attempts == [1]


async def test_arguments_that_do_not_bind_are_never_retried() -> None:
    def leaf(ctx: Context, a: int) -> int:
        return a

    def body(ctx: Context) -> Any:
        yield ctx.run(leaf, 1, 2)  # type: ignore[call-overload]

    with pytest.raises(TypeError, match="positional"):
        await World().run("x", body)


async def test_the_first_failure_logs_its_traceback_the_delay_and_how_to_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flaky = Flaky(2)

    def body(ctx: Context) -> Any:
        yield ctx.run(flaky.plain).options(retry_policy=Constant(0.01))

    with caplog.at_level(logging.WARNING):
        await World().run("x", body)
    shown = [one for one in caplog.records if "retrying in 0.01 s" in one.getMessage()]
    assert len(shown) == 1
    assert "retry_policy=Never()" in shown[0].getMessage()
    assert shown[0].exc_info
    assert "test_failures.py" in caplog.text


async def test_a_retrying_step_is_visible_as_pending() -> None:
    seen: list[str] = []
    world = World(slow_leaf_s=100)

    def leaf(ctx: Context) -> None:
        seen.append(str((world.record("x.1") or {}).get("state")))
        if len(seen) < 2:
            raise OSError

    def body(ctx: Context) -> Any:
        yield ctx.run(leaf).options(retry_policy=Constant(0.05))

    await world.run("x", body)
    assert seen == ["None", "pending"]


async def test_a_slow_leaf_is_visible_as_pending_while_it_runs() -> None:
    gate = threading.Event()
    world = World(slow_leaf_s=0.01)
    seen: list[str] = []

    class Gate:
        """Opens when the promise is there."""

        def leaf(self, ctx: Context) -> None:
            for _ in range(1000):
                record = world.promises.get("x.1")
                if record is not None:
                    seen.append(record.state)
                    return
                gate.wait(0.01)

    def body(ctx: Context) -> Any:
        yield ctx.run(Gate().leaf)

    await world.run("x", body)
    assert seen == ["pending"]
    assert (world.record("x.1") or {})["state"] == "resolved"


async def test_a_result_that_comes_after_the_deadline_is_dropped() -> None:
    world = World()

    def leaf(ctx: Context) -> str:
        world.offset_ms += 5_000
        return "late"

    def body(ctx: Context) -> Any:
        yield ctx.run(leaf).options(timeout=1)

    with pytest.raises(ResonateTimedoutError) as caught:
        await world.run("x", body)
    assert caught.value.promise_id == "x.1"
    assert (world.record("x.1") or {})["value"] == {}


async def test_children_end_before_their_parent_and_detached_ones_do_not() -> None:
    def leaf(ctx: Context) -> None: ...

    def body(ctx: Context) -> Any:
        yield ctx.run(leaf).options(timeout=1000)
        yield ctx.begin_rpc("leaf").options(timeout=1000)
        yield ctx.detached("leaf").options(timeout=1000)

    world = World()
    world.registry.add(leaf)
    world.begin("x", body, timeout_s=10)
    await world.work()
    root = (world.record("x") or {})["timeoutAt"]
    deadlines = {one: (world.record(one) or {})["timeoutAt"] for one in world.ids() if one != "x"}
    assert deadlines["x.1"] == deadlines["x.2"] == root
    assert all(at > root + 900_000 for one, at in deadlines.items() if one.startswith("x.d"))


async def test_a_raising_generator_is_rejected_at_once() -> None:
    def body(ctx: Context) -> Any:
        yield ctx.sleep(0)
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        await World().run("x", body)


async def test_a_class_nobody_here_has_becomes_a_remote_error() -> None:
    class LocalError(Exception):
        """Has no importable name."""

    def leaf(ctx: Context) -> None:
        raise LocalError("who am I")

    def body(ctx: Context) -> Any:
        try:
            yield ctx.run(leaf).options(retry_policy=Never())
        except RemoteError as error:
            return [error.name, str(error)]

    assert await World().run("x", body) == ["LocalError", "who am I"]


@pytest.mark.parametrize(
    ("yielded", "says"),
    [
        (lambda: 42, "yielded int 42"),
        (lambda: None, "yielded NoneType None"),
        (lambda: _coroutine(), "yielded the coroutine"),
        (lambda: (one for one in [1]), "yielded the generator"),
    ],
)
async def test_yielding_anything_else_is_an_error_at_that_yield(yielded: Any, says: str) -> None:
    def body(ctx: Context) -> Any:
        try:
            yield yielded()
        except TypeError as error:
            return str(error)

    assert says in await World().run("x", body)


async def _coroutine() -> None: ...


async def test_a_promise_of_another_execution_cannot_be_yielded() -> None:
    kept: list[Any] = []

    def one(ctx: Context) -> Any:
        kept.append((yield ctx.promise(id="p")))

    def two(ctx: Context) -> Any:
        yield kept[0]

    world = World()
    world.begin("one", one)
    await world.work(jump=False)
    world.settle("p")
    await world.work()
    with pytest.raises(TypeError, match="belongs to execution 'one'"):
        await world.run("two", two)


async def test_a_plain_function_cannot_make_durable_calls() -> None:
    def leaf(ctx: Context) -> Any:
        return ctx.run(leaf)

    def body(ctx: Context) -> Any:
        yield ctx.run(leaf).options(retry_policy=Never())

    with pytest.raises(RuntimeError, match=r"yield ctx\.run.*await ctx\.run"):
        await World().run("x", body)


async def test_a_lambda_that_gives_a_generator_is_driven() -> None:
    def inner(ctx: Context, n: int) -> Any:
        return (yield ctx.run(lambda _: n + 1))

    def body(ctx: Context) -> Any:
        return (yield ctx.run(lambda c: inner(c, 4)))

    assert await World().run("x", body) == 5


async def test_a_call_that_was_never_yielded_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    def body(ctx: Context) -> Any:
        ctx.run(lambda _: 1)
        return (yield ctx.run(lambda _: 2))

    world = World()
    with caplog.at_level(logging.WARNING):
        assert await world.run("x", body) == 2
    assert "never yielded" in caplog.text
    assert "x.1" in caplog.text
    assert world.ids() == ["x", "x.2"]


async def test_a_result_without_json_form_is_refused_with_its_path() -> None:
    def leaf(ctx: Context) -> Any:
        return {"items": [1, {2: object()}]}

    def body(ctx: Context) -> Any:
        yield ctx.run(leaf)

    with pytest.raises(EncodeError, match=r"result of leaf\.items\[1\]\[2\]"):
        await World().run("x", body)


async def test_an_argument_without_json_form_is_raised_at_the_yield_and_creates_nothing() -> None:
    def body(ctx: Context) -> Any:
        try:
            yield ctx.rpc("somewhere", {"items": [0, float("nan")]})
        except EncodeError as error:
            return str(error)

    world = World()
    assert "args[0].items[1]: nan" in await world.run("x", body)
    assert world.ids() == ["x"]


async def test_a_settled_value_that_is_not_json_is_an_error_of_its_awaiter() -> None:
    def body(ctx: Context) -> Any:
        promise = yield ctx.promise()
        try:
            yield promise
        except DecodeError as error:
            return str(error)

    world = World()
    world.begin("x", body)
    await world.work(jump=False)
    world.apply(r.PromiseSettle("x.1", "resolved", Value(None, "bm90IGpzb24=")))
    await world.work()
    assert "value of x.1: not JSON" in world.result("x")


async def test_a_promise_the_server_refuses_is_an_error_where_it_is_awaited() -> None:
    def body(ctx: Context) -> Any:
        try:
            yield ctx.rpc("f").options(target="carrier-pigeon://any@g")
        except ResonateStoreError as error:
            return [error.code, str(error)]

    code, text = await World().run("x", body)
    assert code == 100.4
    assert "carrier-pigeon" in text


async def test_a_refused_promise_nobody_looks_at_fails_its_function() -> None:
    def body(ctx: Context) -> Any:
        yield ctx.begin_rpc("f").options(target="carrier-pigeon://any@g")

    with pytest.raises(ResonateStoreError, match="carrier-pigeon"):
        await World().run("x", body)


async def test_parts_that_wait_for_each_other_are_told_so() -> None:
    kept: dict[str, Any] = {}

    def one(ctx: Context, other: str) -> Any:
        yield ctx.run(lambda _: 1)
        return (yield kept[other])

    def body(ctx: Context) -> Any:
        kept["a"] = yield ctx.begin_run(one, "b")
        kept["b"] = yield ctx.begin_run(one, "a")

    with pytest.raises(DeadlockError):
        await World().run("x", body)


async def test_an_unknown_function_is_released_uncounted_with_its_reason() -> None:
    world = World()
    world.begin("x", "nobody")
    outcome = await Execution(world.acquire("x"), world.environment).run()
    assert isinstance(outcome, Released)
    assert not outcome.counted
    assert outcome.delay_s
    assert "'nobody' version 1 is not registered" in outcome.reason


async def test_an_unknown_version_names_those_that_are_known() -> None:
    world = World()

    def f(ctx: Context) -> None: ...

    world.registry.add(f, name="f", version=2)
    world.begin("x", "f")
    outcome = await Execution(world.acquire("x"), world.environment).run()
    assert isinstance(outcome, Released)
    assert "it has version 2" in outcome.reason


@pytest.mark.parametrize("param", ["bm90IGpzb24=", "WzFd", "!!!"])
async def test_a_param_that_is_no_call_rejects_the_promise(param: str) -> None:
    world = World()
    tags = {"resonate:target": "poll://any@g"}
    world.apply(r.PromiseCreate("x", world.now_ms() + 9_000, Value(None, param), tags))
    await world.work()
    with pytest.raises(DecodeError, match="param"):
        world.result("x")


async def test_arguments_of_the_wrong_type_reject_the_promise_with_their_path() -> None:
    def f(ctx: Context, numbers: list[int]) -> int:
        return sum(numbers)

    world = World()
    world.registry.add(f)
    world.begin("x", "f", [1, "two"])
    await world.work()
    with pytest.raises(DecodeError, match=r"args\[0\]\[1\].*'two'"):
        world.result("x")


async def test_a_timer_promise_is_never_run() -> None:
    world = World()
    tags = {"resonate:target": "poll://any@g", "resonate:timer": "true"}
    world.apply(r.PromiseCreate("x", world.now_ms() + 9_000, Value(None, None), tags))
    outcome = await Execution(world.acquire("x"), world.environment).run()
    assert isinstance(outcome, Lost)


async def test_a_fulfil_whose_value_the_server_refuses_rejects_with_that_reason() -> None:
    world = World()

    def f(ctx: Context) -> str:
        return "y" * 50

    def refusing(request: Any, head: Any = None) -> Any:
        if isinstance(request, r.TaskFulfill) and request.settle.state == "resolved":
            return Reply(413, "too large")
        return apply(request, head)

    world.begin("x", f)
    apply = world.apply
    world.apply = refusing  # type: ignore[method-assign]
    assert isinstance(await world.take("x"), Fulfilled)
    with pytest.raises(Exception, match="too large"):
        world.result("x")


async def test_stop_iteration_from_a_leaf_does_not_end_its_caller() -> None:
    def leaf(ctx: Context) -> None:
        raise StopIteration("sneaky")

    def body(ctx: Context) -> Any:
        try:
            yield ctx.run(leaf).options(retry_policy=Never())
        except RuntimeError as error:
            return str(error)

    assert "StopIteration" in await World().run("x", body)


async def test_a_leaf_that_exits_fails_alone() -> None:
    def leaf(ctx: Context) -> None:
        raise SystemExit(3)

    def body(ctx: Context) -> Any:
        try:
            yield ctx.run(leaf)
        except RemoteError as error:
            return error.name

    assert await World().run("x", body) == "SystemExit"


async def test_a_registered_function_that_is_run_here_keeps_what_it_was_registered_with() -> None:
    flaky = Flaky(9)
    world = World()

    def registered(ctx: Context) -> int:
        assert ctx.info.version == 4
        return flaky.plain(ctx)

    world.registry.add(registered, version=4, retry_policy=Constant(0.01, max_retries=3), timeout_s=5)

    def body(ctx: Context) -> Any:
        yield ctx.run(registered)

    with pytest.raises(OSError, match="flaky"):
        await world.run("x", body)
    assert len(flaky.attempts) == 4
    record = world.record("x.1") or {}
    assert record["timeoutAt"] - record["createdAt"] <= 5_100


async def test_a_step_whose_early_creation_was_lost_is_recorded_whole() -> None:
    class Forgetful(MachineSession):
        def show_early(self, create: Any, after_s: float) -> None: ...

        def shown(self, promise_id: str) -> bool:
            return True

    def body(ctx: Context) -> Any:
        return (yield ctx.run(lambda _: "kept"))

    world = World(extensions=FULL)
    world.begin("x", body)
    assert isinstance(await Execution(world.acquire("x", Forgetful), world.environment).run(), Fulfilled)
    assert world.result("x") == "kept"
    assert world.trips == [["promise.settle"], ["promise.record"], ["task.fulfill"]]


@pytest.mark.parametrize("resident", [True, False])
async def test_a_result_that_does_not_fit_its_annotation_says_so_on_every_run(resident: bool) -> None:
    seen: list[str] = []

    def leaf(ctx: Context) -> int:
        return "text"  # type: ignore[return-value]

    def body(ctx: Context) -> Any:
        try:
            yield ctx.run(leaf)
        except DecodeError as error:
            seen.append(str(error))
        yield ctx.sleep(1)

    await World(resident=resident).run("x", body)
    assert len(set(seen)) == 1
    assert "value of x.1" in seen[0]
    assert "'text'" in seen[0]
