"""Fills working sets from the database and the cache, in sets: never one query per id."""

from collections.abc import Iterable

import orjson

from resonate_mq.machine.state import Footprint, State
from resonate_mq.protocol import tags
from resonate_mq.protocol.limits import PRELOAD_MAX_RECORDS
from resonate_mq.protocol.records import PENDING, Promise, Schedule
from resonate_mq.stores.port import Snapshot
from resonate_mq.stores.sqlite.cache import RecordCache
from resonate_mq.stores.sqlite.database import Database, Row
from resonate_mq.stores.sqlite.rows import read_promise, read_schedule
from resonate_mq.stores.sqlite.sql import READING

_AWAITER, _AWAITED, _LISTENER = 1, 2, 3
_CLOSURE_LIMIT = 1000  # awaiters loaded in advance; more come when the machine asks


class Loader:
    """Loads for one unit.

    Attributes:
        loaded: ids that came from the database, present or not.
    """

    def __init__(self, database: Database, cache: RecordCache, state: State) -> None:
        self.loaded: list[str] = []
        self._database = database
        self._cache = cache
        self._state = state

    def load(self, footprint: Footprint) -> None:
        """Load what `footprint` names, and the awaiters of what may be settled."""
        if footprint.ids:
            self._fetch(footprint.ids)
            self._fetch_awaiters(footprint.ids)
        if footprint.branches:
            self._load_branches(footprint.branches.difference(self._state.branches))
        if footprint.families:
            for branch in footprint.families.difference(self._state.families):
                self._load_family(branch)
        for one in footprint.schedules.difference(self._state.schedules):
            rows = self._database.read(READING["schedule"], (one,))
            self._state.schedules[one] = read_schedule(rows[0]) if rows else None

    def _fetch(self, ids: Iterable[str]) -> None:
        records = self._cache.records
        missing = [one for one in ids if one not in records]
        if not missing:
            return
        rows = read_records(self._database, missing)
        self.loaded.extend(missing)
        if rows:
            found = [read_promise(row) for row in rows]
            self._relate(found)
            for promise in found:
                records[promise.id] = promise
                self._cache.weigh(promise)
        if len(rows) < len(missing):
            for one in missing:
                records.setdefault(one, None)

    def _relate(self, found: list[Promise]) -> None:
        changed = self._state.changed
        by_key = {promise.key: promise for promise in found}
        for kind, key, name in read_relations(self._database, by_key):
            promise = by_key[key]
            if kind == _LISTENER:
                promise.listeners = (*promise.listeners, name)
            elif kind == _AWAITED and promise.task is not None:
                promise.task.awaiting = (*promise.task.awaiting, name)
            elif kind == _AWAITER:
                # the unit may have ended the awaiter before this promise was loaded; its row is then still there
                entry = changed.get(name)
                task = None if entry is None else entry[0].task
                if task is None or promise.id in task.awaiting:
                    promise.awaiters = (*promise.awaiters, name)

    def _fetch_awaiters(self, ids: Iterable[str]) -> None:
        records = self._cache.records
        awaiters: list[str] = []
        for one in ids:
            promise = records[one]
            if promise is not None and promise.awaiters and promise.state == PENDING:
                awaiters.extend(promise.awaiters)
        if awaiters:
            self._fetch(dict.fromkeys(awaiters[:_CLOSURE_LIMIT]))

    def _load_branches(self, branches: set[str]) -> None:
        if not branches:
            return
        members: dict[str, list[str]] = {branch: [] for branch in branches}
        for branch, one in self._database.read(READING["branches"], (_json(branches),)):
            members[branch].append(one)
        self._fetch({*branches, *(one for ids in members.values() for one in ids)})
        for branch, ids in members.items():
            own = self._cache.records[branch]
            if own is not None and own.tags.get(tags.BRANCH) == branch:
                ids.append(branch)
        self._state.branches.update(members)

    def _load_family(self, branch: str) -> None:
        self._load_branches({branch}.difference(self._state.branches))
        members = {branch, *self._state.branches[branch]}
        bound = (_json(members), PRELOAD_MAX_RECORDS)
        children = [one for (one,) in self._database.read(READING["children"], bound)]
        maybe = [one for (one,) in self._database.read(READING["children_in_own_branch"], bound)]
        self._fetch(dict.fromkeys(children + maybe))
        for one in maybe:
            promise = self._cache.records[one]
            if promise is not None and promise.tags.get(tags.PARENT) in members:
                children.append(one)
        family = sorted({*self._state.branches[branch], *children})
        self._state.families[branch] = family[:PRELOAD_MAX_RECORDS]


def read_records(database: Database, ids: list[str]) -> list[Row]:
    """Return the rows of the view `records` of those `ids` that exist, in no order."""
    if len(ids) == 1:
        return database.read(READING["record"], ids)
    return database.read(READING["records"], (_json(ids),))


def read_relations(database: Database, keys: Iterable[int | None]) -> list[Row]:
    """Return (kind, key, id or address) of all relations of `keys`."""
    return database.read(READING["relations"], (_json(keys),))


def read_everything(database: Database) -> Snapshot:
    """Return all that is stored, as records of its own."""
    found = [read_promise(row) for row in database.read(READING["all_records"])]
    by_key = {promise.key: promise for promise in found}
    for kind, key, name in read_relations(database, by_key):
        promise = by_key[key]
        if kind == _LISTENER:
            promise.listeners = (*promise.listeners, name)
        elif kind == _AWAITER:
            promise.awaiters = (*promise.awaiters, name)
        elif promise.task is not None:
            promise.task.awaiting = (*promise.task.awaiting, name)
    schedules: list[Schedule] = [read_schedule(row) for row in database.read(READING["all_schedules"])]
    return Snapshot(found, schedules)


def _json(values: Iterable[object]) -> str:
    return orjson.dumps(list(values)).decode()
