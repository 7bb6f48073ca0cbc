"""Options, registration, retry policies: what is accepted and what is refused at once (features B2, B5, B8)."""

import functools
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from resonate_mq.functions.commands import LFC, LFI, RFC, RFI
from resonate_mq.functions.context import Context, Info, Surroundings
from resonate_mq.functions.options import CLIENT_KEYS, NONE
from resonate_mq.functions.registry import DurableFunction, Registry, kind_of
from resonate_mq.functions.retry import policy_for
from resonate_mq.retry_policies import Constant, Exponential, Linear, Never, RetryPolicy


class IdleHost:
    """Lets every call through and starts none."""

    def enter(self, call: str) -> None: ...

    def wait(self, waitable: Any) -> Any:
        raise AssertionError("nothing is started here")


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def ctx(registry: Registry) -> Context:
    surroundings = Surroundings("root", "root", registry, {"db": 1}, 0)
    return Context("root", Info(1, "root", {}, 0.0, 1), IdleHost(), surroundings)


def leaf(ctx: Context) -> int:
    return 1


LOCAL: list[Callable[[Context], Any]] = [
    lambda ctx: ctx.run(leaf),
    lambda ctx: ctx.lfc(leaf),
    lambda ctx: ctx.begin_run(leaf),
    lambda ctx: ctx.lfi(leaf),
]
REMOTE: list[Callable[[Context], Any]] = [
    lambda ctx: ctx.rpc("f"),
    lambda ctx: ctx.rfc("f"),
    lambda ctx: ctx.begin_rpc("f"),
    lambda ctx: ctx.rfi("f"),
    lambda ctx: ctx.detached("f"),
]
OTHER: list[Callable[[Context], Any]] = [lambda ctx: ctx.promise(), lambda ctx: ctx.sleep(1)]


def test_each_call_is_the_command_it_should_be(ctx: Context) -> None:
    assert [type(make(ctx)) for make in LOCAL] == [LFC, LFC, LFI, LFI]
    assert [type(make(ctx)) for make in REMOTE[:4]] == [RFC, RFC, RFI, RFI]
    assert all(isinstance(make(ctx), (RFC, RFI)) for make in REMOTE + OTHER)


@pytest.mark.parametrize("make", LOCAL)
@pytest.mark.parametrize("key", ["target", "version"])
def test_local_calls_refuse_remote_options(ctx: Context, make: Any, key: str) -> None:
    with pytest.raises(TypeError, match=key):
        make(ctx).options(**{key: "x" if key == "target" else 1})


@pytest.mark.parametrize("make", REMOTE + OTHER)
@pytest.mark.parametrize(
    ("key", "value"), [("retry_policy", Never()), ("durable", True), ("non_retryable_exceptions", (OSError,))]
)
def test_remote_calls_refuse_local_options(ctx: Context, make: Any, key: str, value: Any) -> None:
    with pytest.raises(TypeError, match=key):
        make(ctx).options(**{key: value})


def test_options_change_the_command_and_return_it(ctx: Context) -> None:
    command = ctx.run(leaf)
    same = command.options(id="mine", timeout=5, tags={"a": "b"})
    assert same is command
    assert (command.id, command.opts.timeout, command.opts.tags) == ("mine", 5.0, {"a": "b"})
    same.options(timeout=timedelta(minutes=1))
    assert (command.id, command.opts.timeout) == ("mine", 60.0)


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"timeout": "5"}, TypeError, "timeout must be `float`, got str"),
        ({"timeout": True}, TypeError, "timeout must be `float`, got bool"),
        ({"timeout": -1}, ValueError, "timeout must be greater"),
        ({"timeout": float("nan")}, ValueError, "timeout"),
        ({"version": "1"}, TypeError, "version must be `int`, got str"),
        ({"version": -1}, ValueError, "version"),
        ({"tags": {"a": 1}}, TypeError, "tags must be"),
        ({"tags": []}, TypeError, "tags must be"),
        ({"target": 1}, TypeError, "target must be `str`"),
        ({"target": "g\ud800"}, ValueError, "target contains a lone surrogate at index 1"),
        ({"tags": {"a": "\0"}}, ValueError, "tags must not contain null bytes"),
        ({"tags": {"\udfff": "a"}}, ValueError, "tags contains a lone surrogate"),
        ({"retry_policy": 1}, TypeError, "retry_policy must be"),
        ({"retry_policy": Never}, TypeError, "retry_policy must be"),
        ({"encoder": object()}, TypeError, "encoder must be"),
        ({"idempotency_key": 1}, TypeError, "idempotency_key must be"),
        ({"non_retryable_exceptions": [OSError]}, TypeError, "non_retryable_exceptions must be"),
        ({"nonsense": 1}, TypeError, "does not take the option 'nonsense'"),
    ],
)
def test_wrong_values_are_named(given: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        NONE.merge(CLIENT_KEYS, "options", **given)


@pytest.mark.parametrize("bad", ["", "a\0b", "x" * 1025, "\ud800"])
def test_illegal_ids_are_refused_where_they_are_written(ctx: Context, bad: str) -> None:
    with pytest.raises(ValueError, match="id"):
        ctx.run(leaf).options(id=bad)


def test_old_tag_names_are_translated() -> None:
    options = NONE.merge(CLIENT_KEYS, "options", tags={"resonate:invoke": "poll://any@g", "resonate:timeout": "true"})
    assert options.tags == {"resonate:target": "poll://any@g", "resonate:timer": "true"}


def test_every_call_takes_a_number_and_explicit_ids_take_one_too(ctx: Context) -> None:
    assert ctx.run(leaf).id == "root.1"
    assert ctx.rpc("f").options(id="x").id == "x"
    assert ctx.sleep(1).id == "root.3"
    assert ctx.promise(id="p").id == "p"
    assert ctx.random.random().id == "root.5"
    assert ctx.time.time().id == "root.6"
    assert ctx.promise().id == "root.7"
    assert ctx.detached("f").id.startswith("root.d")
    assert ctx.run(leaf).id == "root.9"


@pytest.mark.parametrize("bad", ["1", None, True, float("nan")])
def test_sleep_wants_seconds(ctx: Context, bad: Any) -> None:
    with pytest.raises(TypeError, match="secs must be `float`"):
        ctx.sleep(bad)
    assert ctx.sleep(timedelta(minutes=2)).args == (120.0,)


def test_a_name_cannot_be_run_here_and_an_unregistered_function_not_elsewhere(ctx: Context) -> None:
    with pytest.raises(ValueError, match="provided callable must be a function"):
        ctx.run("name")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="function leaf not found in registry"):
        ctx.rfi(leaf)
    with pytest.raises(ValueError, match="expected a registered function or its name"):
        ctx.rpc(3)  # type: ignore[call-overload]


def test_dependencies_are_given_by_name(ctx: Context) -> None:
    assert ctx.get_dependency("db") == 1
    assert ctx.get_dependency("missing", 2) == 2
    with pytest.raises(TypeError, match="key must be `str`"):
        ctx.get_dependency(1)  # type: ignore[arg-type]


def test_the_logger_carries_root_and_id(ctx: Context, caplog: pytest.LogCaptureFixture) -> None:
    ctx.logger.warning("hello %s", "you")
    record = caplog.records[-1]
    assert (record.getMessage(), record.root, record.id) == ("hello you", "root", "root")  # type: ignore[attr-defined]


# -- registration


def test_functions_are_found_by_name_object_and_version(registry: Registry) -> None:
    def one(ctx: Context) -> int:
        return 1

    def two(ctx: Context) -> int:
        return 2

    registry.add(one, name="f")
    registry.add(two, name="f", version=3)
    assert registry.get("f").func is two
    assert registry.get("f", 1).func is one
    assert registry.get(one).version == 1
    assert registry.get(one, 3).func is two
    assert registry.functions() == [("f", 1), ("f", 3)]
    with pytest.raises(ValueError, match="function f version 2 not found in registry"):
        registry.get("f", 2)
    with pytest.raises(ValueError, match="function g not found in registry"):
        registry.get("g")


@pytest.mark.parametrize(
    ("func", "given", "error", "says"),
    [
        (leaf, {"version": 0}, ValueError, "version"),
        (leaf, {"version": "1"}, TypeError, "version must be `int`"),
        (leaf, {"name": 1}, TypeError, "name must be `str`"),
        (lambda ctx: 1, {}, ValueError, "lambda"),
        (print, {}, ValueError, "must be a function"),
        (functools.partial(leaf), {}, ValueError, "must be a function"),
    ],
)
def test_bad_registrations_are_refused(
    registry: Registry, func: Any, given: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        registry.add(func, **given)


def test_a_function_and_a_name_are_registered_once(registry: Registry) -> None:
    registry.add(leaf)
    with pytest.raises(ValueError, match="function other already registered"):
        registry.add(leaf, name="other")
    with pytest.raises(ValueError, match="function leaf already registered"):
        registry.add(lambda ctx: 1, name="leaf")


def test_async_generators_are_refused(registry: Registry) -> None:
    async def both(ctx: Context) -> Any:
        yield 1

    with pytest.raises(ValueError, match="async generator"):
        registry.add(both)


def test_a_registered_function_stands_for_the_plain_one(registry: Registry, ctx: Context) -> None:
    class Wrapper(DurableFunction[Any, Any]):
        def __init__(self, func: Any) -> None:
            self.func = func

        def __call__(self) -> None: ...

    registry.add(leaf)
    assert ctx.rpc(Wrapper(leaf)).label == "leaf"
    assert ctx.run(Wrapper(leaf)).func is leaf


def test_the_kind_of_a_callable_is_seen_through_partials_and_methods() -> None:
    class Holder:
        def gen(self, ctx: Context) -> Any:
            yield

        async def coro(self, ctx: Context) -> None: ...

        def __call__(self, ctx: Context) -> Any:
            yield

    holder = Holder()
    assert [kind_of(one) for one in (holder.gen, holder.coro, holder, functools.partial(holder.gen), print, leaf)] == [
        "generator",
        "async",
        "generator",
        "generator",
        "plain",
        "plain",
    ]


# -- retry policies


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (Never(), [0, None, None]),
        (Constant(), [0, 1, 1, 1, 1, 1, 1]),
        (Constant(0.2, max_retries=2), [0, 0.2, 0.2, None]),
        (Linear(), [0, 1, 2, 3, 4, 5, 6]),
        (Linear(0.5, 1), [0, 0.5, None]),
        (Exponential(), [0, 2, 4, 8, 16, 30, 30]),
        (Exponential(1, 2, 3, 100), [0, 3, 9, None]),
    ],
)
def test_policies_give_the_delays_users_know(policy: RetryPolicy, delays: list[float | None]) -> None:
    assert [policy.next(attempt) for attempt in range(len(delays))] == delays


def test_a_policy_survives_a_million_failures() -> None:
    assert Exponential().next(1_000_000) == 30
    assert Constant().next(sys.maxsize - 1) == 1


def test_the_default_depends_on_the_function() -> None:
    def gen(ctx: Context) -> Any:
        yield

    assert policy_for(None, gen) == Never()
    assert policy_for(None, leaf) == Exponential()
    assert policy_for(lambda func: Constant(2), leaf) == Constant(2)


def test_any_class_with_next_is_a_policy() -> None:
    class Mine:
        def next(self, attempt: int) -> float | None:
            return None

    assert NONE.merge({"retry_policy"}, "x", retry_policy=Mine()).retry_policy is not None


@pytest.mark.parametrize("make", [lambda: Constant(-1), lambda: Linear(-1), lambda: Exponential(factor=-1)])
def test_negative_delays_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="must be >= 0"):
        make()
