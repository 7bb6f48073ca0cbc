"""The parts that keep memory bounded and look-ups cheap."""

import random
import re

from resonate_mq.protocol.records import Promise, Value
from resonate_mq.stores.memory_indexes import KeyQueue, SortedIds, TimerIndex
from resonate_mq.stores.sqlite import SqliteStore
from resonate_mq.stores.sqlite.cache import RecordCache
from resonate_mq.stores.sqlite.sql import READING, WRITING, load_queries
from tests.stores.bench import Bench, new_promise


def test_a_timer_index_answers_like_a_sorted_list() -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    index = TimerIndex()
    model: dict[str, int] = {}
    for _ in range(20_000):
        name = f"n{chance.randrange(50)}"
        instant = None if chance.random() < 0.4 else chance.randrange(100)
        index.set(name, instant)
        model.pop(name, None)
        if instant is not None:
            model[name] = instant
        if chance.random() < 0.05:
            until, limit = chance.randrange(100), chance.randrange(60)
            expected = sorted((at, one) for one, at in model.items() if at <= until)[:limit]
            assert index.first(until, limit) == expected, f"seed {seed}"


def test_settled_timers_do_not_pile_up() -> None:
    index = TimerIndex()
    for number in range(50_000):
        index.set(f"n{number}", 10**12)
        index.set(f"n{number}", None)
    assert len(index._heap) < 5_000
    assert index.first(10**13, 10) == []


def test_a_key_queue_answers_like_a_sorted_list() -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    queue = KeyQueue()
    model: dict[int, str] = {}
    for _ in range(20_000):
        key = chance.randrange(2_000)
        if chance.random() < 0.6:
            queue.discard(key)
            model.pop(key, None)
        else:
            queue.add(key, str(key))
            model[key] = str(key)
        if chance.random() < 0.01:
            after = chance.randrange(2_000)
            assert list(queue.after(after)) == sorted(p for p in model.items() if p[0] > after), f"seed {seed}"
    assert len(queue) == len(model)


def test_a_queue_taken_from_its_front_does_not_pile_up() -> None:
    queue = KeyQueue()
    for key in range(50_000):
        queue.add(key, "x")
        queue.discard(key)
    assert len(queue._keys) < 5_000


def test_sorted_ids_are_in_byte_order_of_utf8() -> None:
    names = ["b", "é", "a", "𐐷", "\uffee", "B"]
    ids = SortedIds()
    for name in names:
        ids.add(name)
    assert ids.after(None) == sorted(names, key=lambda one: one.encode())
    ids.remove("é")
    assert "é" not in ids.after("b")


def record(name: str, size: int = 0) -> Promise:
    return Promise(name, Value(None, "x" * size), {}, 1, 0)


def fill(cache: RecordCache, *promises: Promise) -> None:
    for promise in promises:
        cache.records[promise.id] = promise
        cache.weigh(promise)


def test_the_cache_evicts_its_oldest_records_beyond_its_limit() -> None:
    cache = RecordCache(max_records=100)
    fill(cache, *(record(f"n{number}") for number in range(150)))
    assert len(cache.records) == 150
    cache.trim()
    assert list(cache.records) == [f"n{number}" for number in range(60, 150)]


def test_the_cache_bounds_large_payloads() -> None:
    cache = RecordCache(max_payload_bytes=100_000)
    fill(cache, record("small"), *(record(f"n{number}", 10_000) for number in range(20)))
    cache.trim()
    assert list(cache.records) == ["small", *(f"n{number}" for number in range(11, 20))]
    settled = cache.records["small"]
    assert settled is not None
    settled.value = Value(None, "y" * 200_000)
    cache.weigh(settled)
    cache.trim()
    assert "small" not in cache.records or len(cache.records) == 1
    cache.clear()
    fill(cache, record("a", 50_000), record("b", 40_000))
    cache.trim()
    assert list(cache.records) == ["a", "b"]


async def test_the_cache_of_a_store_stays_bounded(sqlite: Bench) -> None:
    store = SqliteStore("unused", cache_records=500)
    assert isinstance(sqlite.store, SqliteStore)
    sqlite.store.cache = store.cache
    for base in range(0, 3_000, 300):
        await sqlite.run(*(new_promise(f"n{base + number}") for number in range(300)))
        assert len(store.cache.records) <= 500
    assert await sqlite.promise("n0") is not None
    assert len(await sqlite.ids()) == 3_000


async def test_absent_ids_do_not_fill_the_cache(sqlite: Bench) -> None:
    assert isinstance(sqlite.store, SqliteStore)
    for number in range(100):
        await sqlite.promise(f"absent{number}")
    assert len(sqlite.store.cache.records) == 0


def test_queries_are_read_by_name_without_comments() -> None:
    queries = load_queries("-- a file\n\n-- name: one\n-- why\nSELECT 1\n\n-- name: two\nSELECT\n 2\n")
    assert queries == {"one": "SELECT 1", "two": "SELECT\n 2"}


async def test_every_named_query_is_accepted_by_the_schema(sqlite: Bench) -> None:
    """Each statement is prepared against the real schema; unknown tables or columns would raise."""
    assert isinstance(sqlite.store, SqliteStore)
    for sql in [*READING.values(), *WRITING.values()]:
        count = 1 if "?1" in sql else sql.count("?")
        sqlite.store.database.read(f"EXPLAIN {sql}", (None,) * count)


async def test_no_query_of_the_hot_path_scans_or_sorts_a_table(sqlite: Bench) -> None:
    assert isinstance(sqlite.store, SqliteStore)
    whole = {"all_records", "all_schedules", "meta"}
    bounded_sorts = {"children", "children_in_own_branch"}  # a family, not a table
    for name, sql in READING.items():
        count = 1 if "?1" in sql else sql.count("?")
        plan = [row[3] for row in sqlite.store.database.read(f"EXPLAIN QUERY PLAN {sql}", (None,) * count)]
        scans = [step for step in plan if re.match(r"SCAN (?!json_each|CONSTANT)(?!.*INDEX)", step)]
        sorts = [step for step in plan if "TEMP B-TREE" in step]
        assert name in whole or not scans, (name, plan)
        assert name in whole | bounded_sorts or not sorts, (name, plan)
