"""What a body sees: decoded values, the same on the first run and on replay (D29, D30, CX-11 to CX-17)."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from resonate_mq.functions.retry import Never
from resonate_mq.transports.port import TransportError
from resonate_mq.worker.execution import Execution, Lost, Released
from tests.support.machine_session import MachineSession, World

if TYPE_CHECKING:  # as users do: the name does not exist when the program runs
    from collections.abc import Generator

    from resonate_mq.functions.context import Context


@dataclasses.dataclass
class Item:
    name: str
    at: datetime


class Order(BaseModel):
    id: int
    items: list[Item]


NOW = datetime(2026, 5, 17, tzinfo=UTC)


def make(ctx: Context, n: int) -> Order:
    return Order(id=n, items=[Item("a", NOW)])


def untyped(ctx: Context) -> Any:
    return (1, {2: 3})


SEEN: list[Any] = []


def body(ctx: Context, order: Order) -> Generator[Any, Any, list[str]]:
    local = yield ctx.run(make, 2)
    remote = yield ctx.rpc("make", 3)
    loose = yield ctx.run(untyped)
    yield ctx.sleep(10)
    SEEN.append([order, local, remote, loose])
    return [type(order).__name__, type(local).__name__]


@pytest.mark.parametrize("resident", [True, False])
async def test_annotations_restore_arguments_and_results(resident: bool) -> None:
    SEEN.clear()
    world = World(resident=resident)
    world.registry.add(make)
    assert await world.run("x", body, Order(id=1, items=[])) == ["Order", "Order"]
    items = [Item("a", NOW)]
    assert [[Order(id=1, items=[]), Order(id=2, items=items), Order(id=3, items=items), [1, {"2": 3}]]] == SEEN


async def test_a_changed_result_does_not_change_the_record() -> None:
    kept = {"list": [1]}

    def leaf(ctx: Context) -> dict[str, list[int]]:
        return kept

    def mutating(ctx: Context) -> Any:
        value = yield ctx.run(leaf)
        kept["list"].append(2)
        return value

    assert await World().run("x", mutating) == {"list": [1]}


async def test_arguments_of_local_calls_stay_in_memory() -> None:
    def leaf(ctx: Context, anything: Any) -> bool:
        return callable(anything)

    def parent(ctx: Context) -> Any:
        return (yield ctx.run(leaf, lambda: None))

    assert await World().run("x", parent) is True


async def test_time_and_random_can_be_injected() -> None:
    class Clock:
        def time(self) -> float:
            return 12.5

        def strftime(self, format: str) -> str:
            return f"<{format}>"

    def parent(ctx: Context) -> Any:
        return [
            (yield ctx.time.time()),
            (yield ctx.time.strftime("%Y")),
            (yield ctx.random.random()),
            (yield ctx.random.choice([4])),
            (yield ctx.random.randrange(1, 2)),
            (yield ctx.random.getrandbits(1)),
            (yield ctx.random.betavariate(1, 1)),
            (yield ctx.random.expovariate()),
            (yield ctx.random.triangular()),
        ]

    world = World(dependencies={"resonate:time": Clock(), "resonate:random": random.Random(7)})
    same = random.Random(7)
    found = await world.run("x", parent)
    assert found[:4] == [12.5, "<%Y>", same.random(), 4]
    assert len(world.ids()) == 10


async def test_dependencies_reach_every_function() -> None:
    def leaf(ctx: Context) -> Any:
        return ctx.get_dependency("db")

    def parent(ctx: Context) -> Any:
        return [ctx.get_dependency("db"), (yield ctx.run(leaf)), ctx.get_dependency("nothing", 0)]

    assert await World(dependencies={"db": "D"}).run("x", parent) == ["D", "D", 0]


async def test_helpers_share_the_numbering_of_who_uses_them() -> None:
    def helper(ctx: Context) -> Generator[Any, Any, int]:
        a = yield ctx.run(lambda _: 1)
        b = yield from ctx.typesafe(ctx.run(lambda _: 2))
        return int(a) + b

    def parent(ctx: Context) -> Any:
        return [(yield from helper(ctx)), (yield ctx.run(lambda _: 9))]

    world = World()
    assert await world.run("x", parent) == [3, 9]
    assert world.ids() == ["x", "x.1", "x.2", "x.3"]


async def test_the_facts_of_an_attempt_are_in_info() -> None:
    def leaf(ctx: Context) -> Any:
        return [ctx.id, ctx.info.attempt, ctx.info.idempotency_key, ctx.info.version, ctx.info.tags["mine"]]

    def parent(ctx: Context) -> Any:
        return (yield ctx.run(leaf).options(tags={"mine": "yes"}, timeout=60))

    world = World()
    assert await world.run("x", parent) == ["x.1", 1, "x.1", 1, "yes"]
    assert (world.record("x.1") or {})["tags"] == {
        "mine": "yes",
        "resonate:scope": "local",
        "resonate:branch": "x",
        "resonate:parent": "x",
        "resonate:origin": "x",
        "resonate:prefix": "x",
        "resonate-mq:kind": "run",
        "resonate-mq:func": "leaf",
    }


async def test_a_body_that_raises_still_awaits_what_it_began() -> None:
    world = World()

    def parent(ctx: Context) -> Any:
        yield ctx.begin_rpc("elsewhere")
        raise KeyError("mine")

    world.begin("x", parent)
    await world.work_only("x")
    assert (world.record("x") or {})["state"] == "pending"
    world.settle("x.1")
    await world.work_only("x")
    with pytest.raises(KeyError, match="mine"):
        world.result("x")


async def test_the_first_run_and_a_replay_take_the_same_except() -> None:
    class OddError(Exception):
        """Not importable: both runs must see it as a RemoteError."""

    took: list[str] = []

    def leaf(ctx: Context) -> None:
        raise OddError("x")

    def parent(ctx: Context) -> Any:
        try:
            yield ctx.run(leaf).options(retry_policy=Never())
        except OddError:
            took.append("odd")
        except Exception as error:  # noqa: BLE001 - this is what is asserted
            took.append(type(error).__name__)
        yield ctx.sleep(5)

    await World(resident=False).run("x", parent)
    assert took == ["RemoteError", "RemoteError"]


async def test_an_encoder_of_the_users_own_reads_and_writes_a_step() -> None:
    class Shout:
        def encode(self, obj: Any) -> str:
            return f"{obj}!"

        def decode(self, obj: str | None) -> Any:
            return (obj or "").upper()

    def parent(ctx: Context) -> Any:
        return (yield ctx.run(lambda _: "hey").options(encoder=Shout()))

    assert await World().run("x", parent) == "HEY!"


@pytest.mark.parametrize("lost", [True, False])
async def test_a_server_that_cannot_be_reached_gives_the_task_back(lost: bool) -> None:
    class Deaf(MachineSession):
        async def sequence(self, requests: Any) -> Any:
            self.lost = lost
            raise TransportError("no route")

    def parent(ctx: Context) -> Any:
        yield ctx.rpc("elsewhere")

    world = World()
    world.begin("x", parent)
    outcome = await Execution(world.acquire("x", Deaf), world.environment).run()
    assert "no route" in outcome.reason  # type: ignore[union-attr]
    assert isinstance(outcome, Lost if lost else Released)


async def test_a_fault_of_ours_gives_the_task_back_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    from resonate_mq.worker.execution.recording import Recording

    def broken(*_: Any) -> None:
        raise AssertionError("bug")

    monkeypatch.setattr(Recording, "ended", broken)

    def parent(ctx: Context) -> Any:
        yield ctx.run(lambda _: 1)

    world = World()
    world.begin("x", parent)
    outcome = await Execution(world.acquire("x"), world.environment).run()
    assert isinstance(outcome, Released)
    assert outcome.counted
    assert "AssertionError: bug" in outcome.reason
