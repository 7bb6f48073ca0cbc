"""`resonate.promises`: durable promises outside of durable functions (B10, B11, D13).

Owns idempotency keys and `strict`, which the server does not know: a per-call nonce in what is stored tells whether
this call, in any of its retries, was the one that took effect.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from resonate_mq.client.blocking import blocking
from resonate_mq.client.calls import Calls
from resonate_mq.client.durable_promise import (
    KEY_HEADER,
    NONCE_HEADER,
    DurablePromise,
    complete_key,
    create_key,
    promise_of,
    to_wire_text,
)
from resonate_mq.errors import ResonateStoreError
from resonate_mq.protocol import requests as r
from resonate_mq.protocol.records import Value

EARLIEST_TIMEOUT_MS = 10**11  # below it lies 1973: seconds or a duration, not epoch milliseconds (D7)


class AsyncPromises:
    """The coroutines of `resonate.promises`, as `resonate.aio.promises`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        id: str,
        timeout: int,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> DurablePromise:
        """Create a promise that somebody settles by its id.

        Args:
            id: identity, at most 1,024 bytes; nothing else may use it.
            timeout: deadline, absolute epoch **milliseconds**; one in the past is born settled.
            ikey: a repeat with the same key gets the existing promise; without one any repeat is an error.
            strict: refuse an existing promise that is settled.
            headers: stored beside `data`.
            data: text, usually JSON.
            tags: immutable labels.

        Raises:
            ValueError: `timeout` is no epoch milliseconds.
            ResonateStoreError: 100.40399, the id is taken.
        """
        _check_timeout(timeout)
        nonce = secrets.token_hex(8)
        wire_tags = await self._calls.wire_tags(tags)
        wire_tags |= {KEY_HEADER: ikey or "", NONCE_HEADER: nonce}
        request = r.PromiseCreate(id, timeout, Value(headers, to_wire_text(data)), wire_tags)
        record = (await self._calls.call(request))["promise"]
        if record["tags"].get(NONCE_HEADER) != nonce:
            _check_existing(record, ikey, strict=strict)
        return self._promise(record)

    async def create_with_task(
        self,
        id: str,
        timeout: int,
        pid: str,
        ttl: int,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> tuple[DurablePromise, dict[str, Any] | None]:
        """Create a promise and take its task in one step.

        Args:
            pid: process that takes the task; `ttl` is its lease in milliseconds.
            tags: must name a target (`resonate:target`).

        Returns:
            The promise, and the task record if this call got it, else None.
        """
        _check_timeout(timeout)
        nonce = secrets.token_hex(8)
        wire_tags = await self._calls.wire_tags(tags)
        wire_tags |= {KEY_HEADER: ikey or "", NONCE_HEADER: nonce}
        create = r.PromiseCreate(id, timeout, Value(headers, to_wire_text(data)), wire_tags)
        reply = await self._calls.reply(r.TaskCreate(pid, ttl, create, claim=nonce))
        if reply.status in (409, 422):
            record, task = (await self._calls.call(r.PromiseGet(id)))["promise"], None
        else:
            answer = self._calls.data_of(reply)
            record, task = answer["promise"], answer["task"]
        if record["tags"].get(NONCE_HEADER) != nonce:
            _check_existing(record, ikey, strict=strict)
        held = task is not None and task["state"] == "acquired"
        return self._promise(record), task if held else None

    async def get(self, id: str) -> DurablePromise:
        """Return a promise as it is now.

        Raises:
            ResonateStoreError: 100.40400, there is none with this id.
        """
        return self._promise((await self._calls.call(r.PromiseGet(id)))["promise"])

    async def resolve(
        self,
        id: str,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
    ) -> DurablePromise:
        """Settle a promise with a value; whoever awaits it goes on.

        Args:
            ikey: a repeat with the same key is harmless; without one any repeat is an error.
            strict: a repeat must ask for the same state, and a promise past its deadline is an error.
            data: JSON text (`json.dumps(value)`); None gives the awaiter None.

        Raises:
            ResonateStoreError: 100.40400 unknown, 100.40399 settled already, 100.40303 past its deadline (strict).
        """
        return await self._settle(id, "resolved", ikey, strict, headers, data)

    async def reject(
        self,
        id: str,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
    ) -> DurablePromise:
        """Settle a promise with an error whose text is `data`; otherwise like `resolve`."""
        return await self._settle(id, "rejected", ikey, strict, headers, data)

    async def cancel(
        self,
        id: str,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
        data: str | None = None,
    ) -> DurablePromise:
        """Settle a promise as cancelled: awaiters get `ResonateCanceledError`; otherwise like `resolve`."""
        return await self._settle(id, "rejected_canceled", ikey, strict, headers, data)

    async def callback(
        self, promise_id: str, root_promise_id: str, recv: str = "", timeout: int = 0
    ) -> tuple[DurablePromise, None]:
        """Resume the execution `root_promise_id` when `promise_id` settles; the task's own target is told."""
        answer = await self._calls.call(r.RegisterCallback(promise_id, root_promise_id))
        return self._promise(answer["promise"]), None

    async def subscribe(self, id: str, promise_id: str, recv: str, timeout: int = 0) -> tuple[DurablePromise, None]:
        """Send `unblock` to the address `recv` when `promise_id` settles."""
        answer = await self._calls.call(r.RegisterListener(promise_id, recv))
        return self._promise(answer["promise"]), None

    async def _settle(
        self,
        promise_id: str,
        state: str,
        ikey: str | None,
        strict: bool,
        headers: dict[str, str] | None,
        data: str | None,
    ) -> DurablePromise:
        nonce = secrets.token_hex(8)
        ours = {KEY_HEADER: ikey or "", NONCE_HEADER: nonce}
        value = Value({**(headers or {}), **ours}, to_wire_text(data))
        record = (await self._calls.call(r.PromiseSettle(promise_id, state, value)))["promise"]
        stored = (record.get("value") or {}).get("headers") or {}
        if stored.get(NONCE_HEADER) != nonce:
            _check_settled(record, state, ikey, strict=strict)
        return self._promise(record)

    def _promise(self, record: Mapping[str, Any]) -> DurablePromise:
        return promise_of(record, self, self._calls.runtime)


class Promises:
    """Durable promises outside of durable functions: create, get, resolve, reject, cancel."""

    _face = "resonate.promises"

    def __init__(self, calls: Calls) -> None:
        self.aio = AsyncPromises(calls)
        self._runtime = calls.runtime

    create = blocking(AsyncPromises.create)
    create_with_task = blocking(AsyncPromises.create_with_task)
    get = blocking(AsyncPromises.get)
    resolve = blocking(AsyncPromises.resolve)
    reject = blocking(AsyncPromises.reject)
    cancel = blocking(AsyncPromises.cancel)
    callback = blocking(AsyncPromises.callback)
    subscribe = blocking(AsyncPromises.subscribe)


def check_key(record: Mapping[str, Any], ikey: str | None) -> None:
    """Raise unless a found promise was created with the same idempotency key.

    Raises:
        ResonateStoreError: 100.40399.
    """
    existing = create_key(record)
    if ikey is not None and existing == ikey:
        return
    found = "without an idempotency key" if existing is None else f"with the idempotency key {existing!r}"
    wanted = "none was given now" if ikey is None else f"this call has {ikey!r}"
    raise ResonateStoreError(f"promise {record['id']!r} exists already, created {found}; {wanted}", 40399)


def _check_existing(record: Mapping[str, Any], ikey: str | None, *, strict: bool) -> None:
    check_key(record, ikey)
    if strict and record["state"] != "pending":
        raise ResonateStoreError(
            f"promise {record['id']!r} is {record['state']} already; strict=True refuses that", 40399
        )


def _check_settled(record: Mapping[str, Any], state: str, ikey: str | None, *, strict: bool) -> None:
    promise_id, found = record["id"], record["state"]
    if found == "rejected_timedout":
        if strict:
            raise ResonateStoreError(f"promise {promise_id!r} passed its deadline before it was settled", 40303)
        return
    key = complete_key(record)
    if ikey is None or key != ikey:
        by = "without an idempotency key" if key is None else f"with the idempotency key {key!r}"
        raise ResonateStoreError(f"promise {promise_id!r} is {found} already, settled {by}", 40399)
    if strict and found != state:
        raise ResonateStoreError(f"promise {promise_id!r} is {found} already, not {state}", 40399)


def _check_timeout(timeout: object) -> None:
    if isinstance(timeout, bool) or not isinstance(timeout, int):
        raise TypeError(f"timeout must be `int`, got {type(timeout).__name__}")
    if timeout < EARLIEST_TIMEOUT_MS:
        raise ValueError(
            f"timeout is absolute epoch milliseconds; got {timeout}, "
            f"did you mean int(time.time() * 1000) + {timeout * 1000}?"
        )
