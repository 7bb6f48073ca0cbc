"""Searches mean the same in every store: byte order, pages, containment of tags, projection at the instant asked."""

from resonate_mq.protocol.records import EMPTY
from resonate_mq.protocol.requests import PromiseSearch, PromiseSettle, ScheduleSearch, TaskAcquire, TaskSearch
from tests.stores.bench import TARGET, Bench, answer, new_promise

LATER = 5_000_000


async def promises(bench: Bench, now_ms: int = 1_000_000, **query: object) -> tuple[list[str], bool]:
    async with bench.unit() as unit:
        found, more = await unit.search_promises(PromiseSearch(**query), now_ms)  # type: ignore[arg-type]
    return [one.id for one in found], more


async def tasks(bench: Bench, now_ms: int = 1_000_000, **query: object) -> tuple[list[str], bool]:
    async with bench.unit() as unit:
        found, more = await unit.search_tasks(TaskSearch(**query), now_ms)  # type: ignore[arg-type]
    return [one.id for one in found], more


async def test_pages_follow_byte_order_and_name_each_id_once(bench: Bench) -> None:
    names = ["b", "a", "B", "é", "z", "a.1", "a:1", "aa", "𐐷", "\uffee", "~", "Z9", " x"]
    await bench.run(*(new_promise(name) for name in names))
    expected = sorted(names, key=lambda name: name.encode())
    assert await promises(bench) == (expected, False)
    seen: list[str] = []
    cursor, more = None, True
    while more:
        page, more = await promises(bench, limit=4, cursor=cursor)
        seen += page
        cursor = page[-1]
    assert seen == expected
    assert await promises(bench, cursor="\U0010ffff") == ([], False)
    assert await promises(bench, limit=len(names)) == (expected, False)


async def test_tags_match_by_containment(bench: Bench) -> None:
    await bench.run(
        new_promise("a", tags={"k": "v", "l": "w"}),
        new_promise("b", tags={"k": "v"}),
        new_promise("c", tags={"k": "other"}),
        new_promise("d"),
        new_promise("e", tags={"k'\"]$.": '"v'}),
    )
    assert await promises(bench, tags={"k": "v"}) == (["a", "b"], False)
    assert await promises(bench, tags={"k": "v", "l": "w"}) == (["a"], False)
    assert await promises(bench, tags={"k'\"]$.": '"v'}) == (["e"], False)
    assert await promises(bench, tags={"none": ""}) == ([], False)
    assert await promises(bench, tags={}) == (["a", "b", "c", "d", "e"], False)


async def test_states_are_those_of_the_instant_asked(bench: Bench) -> None:
    await bench.run(
        new_promise("live"),
        new_promise("late", timeout_at=LATER),
        new_promise("timer", timeout_at=LATER, tags={"resonate:timer": "true"}),
        new_promise("done", timeout_at=LATER),
    )
    await bench.run(PromiseSettle("done", "rejected_canceled", EMPTY))
    before, after = LATER - 1, LATER
    assert await promises(bench, before, state="pending") == (["late", "live", "timer"], False)
    assert await promises(bench, after, state="pending") == (["live"], False)
    assert await promises(bench, after, state="resolved") == (["timer"], False)
    assert await promises(bench, after, state="rejected_timedout") == (["late"], False)
    assert await promises(bench, after, state="rejected_canceled") == (["done"], False)
    assert await promises(bench, after, state="rejected") == ([], False)


async def test_task_search_finds_tasks_by_their_state_at_the_instant(bench: Bench) -> None:
    await bench.run(
        new_promise("none"),
        new_promise("b", target=TARGET),
        new_promise("a", target=TARGET),
        new_promise("late", target=TARGET, timeout_at=LATER),
    )
    await bench.run(TaskAcquire("a", 0, "p", 60_000))
    assert await tasks(bench) == (["a", "b", "late"], False)
    assert await tasks(bench, limit=2) == (["a", "b"], True)
    assert await tasks(bench, cursor="a", limit=1) == (["b"], True)
    assert await tasks(bench, state="acquired") == (["a"], False)
    assert await tasks(bench, LATER - 1, state="pending") == (["b", "late"], False)
    assert await tasks(bench, LATER, state="pending") == (["b"], False)
    assert await tasks(bench, LATER, state="fulfilled") == (["late"], False)


async def test_schedules_are_searched_by_their_promise_tags(bench: Bench) -> None:
    for name, tag in (("b", "1"), ("a", "1"), ("c", "2")):
        tags = {"resonate:target": TARGET, "k": tag}
        await bench.ask("schedule.create", id=name, cron="* * * * *", promiseId="p", promiseTimeout=1, promiseTags=tags)
    await bench.ask("schedule.delete", id="b")
    async with bench.unit() as unit:
        assert [one.id for one in (await unit.search_schedules(ScheduleSearch()))[0]] == ["a", "c"]
        assert [one.id for one in (await unit.search_schedules(ScheduleSearch(tags={"k": "1"})))[0]] == ["a"]
        found, more = await unit.search_schedules(ScheduleSearch(limit=1))
        assert ([one.id for one in found], more) == (["a"], True)


async def test_a_search_sees_what_its_unit_changed_and_the_unit_goes_on(bench: Bench) -> None:
    await bench.run(new_promise("a"), new_promise("b"), new_promise("c", target=TARGET))
    async with bench.unit() as unit:
        await answer(unit, new_promise("aa", target=TARGET))
        await answer(unit, PromiseSettle("b", "resolved", EMPTY))
        found, _ = await unit.search_promises(PromiseSearch(state="pending"), 1_000_000)
        assert [one.id for one in found] == ["a", "aa", "c"]
        await answer(unit, TaskAcquire("aa", 0, "p", 60_000))
        found, _ = await unit.search_tasks(TaskSearch(state="acquired"), 1_000_000)
        assert [one.id for one in found] == ["aa"]
        await answer(unit, PromiseSettle("aa", "resolved", EMPTY))
        await answer(unit, new_promise("d"))
        await unit.commit()
    assert await promises(bench, state="resolved") == (["aa", "b"], False)
    assert await promises(bench, state="pending") == (["a", "c", "d"], False)


async def test_a_search_does_not_make_its_unit_permanent(bench: Bench) -> None:
    async with bench.unit() as unit:
        await answer(unit, new_promise("a"))
        assert len((await unit.search_promises(PromiseSearch(), 1_000_000))[0]) == 1
    assert await promises(bench) == ([], False)


async def test_a_rare_match_is_found_among_many(bench: Bench) -> None:
    await bench.run(*(new_promise(f"p{n:05}") for n in range(3_500)), new_promise("x", tags={"k": "v"}))
    assert await promises(bench, tags={"k": "v"}) == (["x"], False)
    assert await promises(bench, cursor="p03498", limit=1) == (["p03499"], True)
