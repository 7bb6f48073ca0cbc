"""`resonate.schedules`: promises created by cron (B12, D45).

Owns idempotent creation and what people mean by a cron expression. A schedule's key, description and tags are not
the protocol's: they travel in the headers of its promise param.
"""

import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from resonate_mq.client import cron as crons
from resonate_mq.client.blocking import blocking
from resonate_mq.client.calls import Calls
from resonate_mq.client.durable_promise import DurablePromiseValue, to_wire_text
from resonate_mq.client.durable_promise import _value_of as value_of
from resonate_mq.errors import ResonateStoreError
from resonate_mq.protocol import requests as r
from resonate_mq.protocol.records import Value

_HEADER = "resonate-mq:schedule"
_NONCE = "nonce"

logger = logging.getLogger(__name__)


class AsyncSchedule:
    """The coroutines of one schedule."""

    def __init__(self, schedule_id: str, store: "AsyncSchedules") -> None:
        self._id = schedule_id
        self._store = store

    async def delete(self) -> None:
        """Stop it; promises it created stay."""
        await self._store.delete(self._id)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A cron that creates promises, as the server knew it when it was asked.

    Attributes:
        cron: expression as stored, weekdays as names.
        promise_id: template; `{{.timestamp}}` is the instant of the firing in epoch milliseconds.
        promise_timeout: milliseconds each promise has from its firing.
        last_runtime, next_runtime, created_on: epoch milliseconds.
    """

    id: str
    description: str | None
    cron: str
    tags: dict[str, str]
    promise_id: str
    promise_timeout: int
    promise_param: DurablePromiseValue
    promise_tags: dict[str, str]
    last_runtime: int | None
    next_runtime: int
    ikey: str | None
    created_on: int
    aio: AsyncSchedule = field(repr=False, compare=False)
    _runtime: Any = field(repr=False, compare=False)
    _face: str = field(default="schedule", repr=False, compare=False)

    delete = blocking(AsyncSchedule.delete)


class AsyncSchedules:
    """The coroutines of `resonate.schedules`, as `resonate.aio.schedules`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        id: str,
        cron: str,
        promise_id: str,
        promise_timeout: int,
        *,
        ikey: str | None = None,
        description: str | None = None,
        tags: dict[str, str] | None = None,
        promise_headers: dict[str, str] | None = None,
        promise_data: str | None = None,
        promise_tags: dict[str, str] | None = None,
    ) -> Schedule:
        """Create promises by cron, in UTC.

        Args:
            cron: 5 fields (minute hour day month weekday; 0 and 7 = Sunday, 1 = Monday) or 6 with seconds first;
                `@hourly`, `@daily` and friends.
            promise_id: id of each promise; `{{.timestamp}}` becomes the firing's epoch milliseconds.
            promise_timeout: milliseconds each promise has, from its firing.
            ikey: a repeat with the same key gets the existing schedule; without one any repeat is an error.
            promise_data: JSON text, for an invocation `{"func": name, "args": [...], "version": 1}`.
            promise_tags: tags of each promise; `resonate:target` says who executes it, own group if missing.

        Raises:
            ValueError: the cron expression cannot be understood.
            ResonateStoreError: 100.40400, the schedule exists already.
        """
        wire_cron = crons.to_wire(cron)
        _check_duration(promise_timeout)
        nonce = secrets.token_hex(8)
        meta = {"ikey": ikey, "description": description, "tags": tags or {}, _NONCE: nonce}
        headers = {**(promise_headers or {}), _HEADER: json.dumps(meta)}
        request = r.ScheduleCreate(
            id,
            wire_cron,
            promise_id,
            promise_timeout,
            Value(headers, to_wire_text(promise_data)),
            await self._calls.wire_tags(promise_tags, invoking=True),
        )
        record = (await self._calls.call(request))["schedule"]
        existing = _meta_of(record)
        if existing.get(_NONCE) != nonce:
            if ikey is None or existing.get("ikey") != ikey:
                raise ResonateStoreError(f"Schedule already exists: {id!r}; repeat its ikey, or delete it first", 40400)
        else:
            _announce(id, cron, wire_cron)
        return self._schedule(record)

    async def get(self, id: str) -> Schedule:
        """Return a schedule as it is now.

        Raises:
            ResonateStoreError: 100.40403, there is none with this id.
        """
        return self._schedule((await self._calls.call(r.ScheduleGet(id), missing=40403))["schedule"])

    async def delete(self, id: str) -> None:
        """Stop a schedule; promises it created stay.

        Raises:
            ResonateStoreError: 100.40403, there is none with this id.
        """
        await self._calls.call(r.ScheduleDelete(id), missing=40403)

    def _schedule(self, record: Mapping[str, Any]) -> Schedule:
        meta, param = _meta_of(record), value_of(record.get("promiseParam"))
        headers = {name: text for name, text in (param.headers or {}).items() if name != _HEADER}
        return Schedule(
            id=record["id"],
            description=meta.get("description"),
            cron=record["cron"],
            tags=meta.get("tags", {}),
            promise_id=record["promiseId"],
            promise_timeout=record["promiseTimeout"],
            promise_param=DurablePromiseValue(headers or None, param.data),
            promise_tags=record["promiseTags"],
            last_runtime=record.get("lastRunAt"),
            next_runtime=record["nextRunAt"],
            ikey=meta.get("ikey"),
            created_on=record["createdAt"],
            aio=AsyncSchedule(record["id"], self),
            _runtime=self._calls.runtime,
        )


class Schedules:
    """Promises created by cron: create, get, delete."""

    _face = "resonate.schedules"

    def __init__(self, calls: Calls) -> None:
        self.aio = AsyncSchedules(calls)
        self._runtime = calls.runtime

    create = blocking(AsyncSchedules.create)
    get = blocking(AsyncSchedules.get)
    delete = blocking(AsyncSchedules.delete)


def _meta_of(record: Mapping[str, Any]) -> dict[str, Any]:
    text = ((record.get("promiseParam") or {}).get("headers") or {}).get(_HEADER)
    if text is None:
        return {"ikey": record["id"]}  # another client's: its key is its id, as with promises (D13)
    try:
        meta = json.loads(text)
    except ValueError:
        return {}
    return meta if isinstance(meta, dict) else {}


def _announce(schedule_id: str, cron: str, wire_cron: str) -> None:
    firings = crons.next_firings(wire_cron, int(time.time() * 1000))
    times = ", ".join(instant.strftime("%Y-%m-%d %H:%M:%S") for instant in firings)
    logger.info("schedule %s (%s) fires next at %s UTC", schedule_id, cron, times)
    if crons.has_both_days(wire_cron):
        logger.warning(
            "schedule %s (%s) names a day of the month and a weekday: it fires only when both match", schedule_id, cron
        )


def _check_duration(promise_timeout: object) -> None:
    if isinstance(promise_timeout, bool) or not isinstance(promise_timeout, int):
        raise TypeError(f"promise_timeout must be `int` (milliseconds), got {type(promise_timeout).__name__}")
    if promise_timeout < 0:
        raise ValueError(f"promise_timeout must be >= 0 milliseconds, got {promise_timeout}")
