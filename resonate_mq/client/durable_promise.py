"""A durable promise as seen from outside of durable functions (B10): a record, its flags, and what one may do to it.

Owns the translation between the wire's record and the names people use: upper-case states, text instead of
base64, idempotency keys out of tags and headers (D13, D38).
"""

import base64
import binascii
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from resonate_mq.client.blocking import blocking
from resonate_mq.protocol import tags as tag_names

KEY_HEADER = tag_names.IKEY
NONCE_HEADER = tag_names.NONCE
_OURS = (KEY_HEADER, NONCE_HEADER)


@dataclass(frozen=True, slots=True)
class DurablePromiseValue:
    """What a promise was created or settled with.

    Attributes:
        headers: as given, None when there were none.
        data: text as given to `create` or `resolve`, usually JSON; None when there was none.
    """

    headers: dict[str, str] | None = None
    data: str | None = None


class AsyncDurablePromise:
    """The coroutines of one promise: `await promise.aio.resolve(...)`."""

    def __init__(self, promise_id: str, store: Any) -> None:
        self._id = promise_id
        self._store = store

    async def resolve(
        self,
        data: str | None = None,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
    ) -> "DurablePromise":
        """Resolve it with JSON text; see `promises.resolve`."""
        return await self._settle("resolve", data, ikey, strict, headers)

    async def reject(
        self,
        data: str | None = None,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
    ) -> "DurablePromise":
        """Reject it with JSON text; see `promises.reject`."""
        return await self._settle("reject", data, ikey, strict, headers)

    async def cancel(
        self,
        data: str | None = None,
        *,
        ikey: str | None = None,
        strict: bool = False,
        headers: dict[str, str] | None = None,
    ) -> "DurablePromise":
        """Cancel it; see `promises.cancel`."""
        return await self._settle("cancel", data, ikey, strict, headers)

    async def _settle(
        self, verb: str, data: str | None, ikey: str | None, strict: bool, headers: dict[str, str] | None
    ) -> "DurablePromise":
        settle = getattr(self._store, verb)
        promise: DurablePromise = await settle(self._id, ikey=ikey, strict=strict, headers=headers, data=data)
        return promise


@dataclass(frozen=True, kw_only=True)
class DurablePromise:
    """A durable promise as the server knew it when it was asked.

    Attributes:
        state: PENDING, RESOLVED, REJECTED, REJECTED_CANCELED or REJECTED_TIMEDOUT.
        timeout: deadline, epoch milliseconds.
        ikey_for_create: key it was created with, None when none was given (which matches nothing).
        ikey_for_complete: key it was settled with, None while pending or when none was given.
        created_on: epoch milliseconds.
        completed_on: epoch milliseconds, None while pending.
    """

    id: str
    state: str
    timeout: int
    ikey_for_create: str | None
    ikey_for_complete: str | None
    param: DurablePromiseValue
    value: DurablePromiseValue
    tags: dict[str, str]
    created_on: int
    completed_on: int | None
    aio: AsyncDurablePromise = field(repr=False, compare=False)
    _runtime: Any = field(repr=False, compare=False)
    _face: str = field(default="promise", repr=False, compare=False)

    resolve = blocking(AsyncDurablePromise.resolve)
    reject = blocking(AsyncDurablePromise.reject)
    cancel = blocking(AsyncDurablePromise.cancel)

    @property
    def pending(self) -> bool:
        """Not settled yet."""
        return self.state == "PENDING"

    @property
    def completed(self) -> bool:
        """Settled, one way or another."""
        return self.state != "PENDING"

    @property
    def resolved(self) -> bool:
        """Settled with a value."""
        return self.state == "RESOLVED"

    @property
    def rejected(self) -> bool:
        """Settled with an error."""
        return self.state == "REJECTED"

    @property
    def canceled(self) -> bool:
        """Cancelled by somebody."""
        return self.state == "REJECTED_CANCELED"

    @property
    def timedout(self) -> bool:
        """Its deadline passed."""
        return self.state == "REJECTED_TIMEDOUT"

    @property
    def abs_timeout(self) -> float:
        """Deadline, epoch seconds."""
        return self.timeout / 1000

    @property
    def rel_timeout(self) -> float:
        """Seconds between creation and deadline."""
        return (self.timeout - self.created_on) / 1000

    def to_dict(self) -> dict[str, Any]:
        """Return it under the names of its JSON form."""
        return {
            "id": self.id,
            "state": self.state,
            "timeout": self.timeout,
            "idempotencyKeyForCreate": self.ikey_for_create,
            "idempotencyKeyForComplete": self.ikey_for_complete,
            "param": {"headers": self.param.headers, "data": self.param.data},
            "value": {"headers": self.value.headers, "data": self.value.data},
            "tags": self.tags,
            "createdOn": self.created_on,
            "completedOn": self.completed_on,
        }


def promise_of(record: Mapping[str, Any], store: Any, runtime: Any) -> DurablePromise:
    """Return the promise of a wire record."""
    tags = {name: value for name, value in record["tags"].items() if name not in _OURS}
    return DurablePromise(
        id=record["id"],
        state=record["state"].upper(),
        timeout=record["timeoutAt"],
        ikey_for_create=create_key(record),
        ikey_for_complete=complete_key(record),
        param=_value_of(record.get("param")),
        value=_value_of(record.get("value")),
        tags=tags,
        created_on=record["createdAt"],
        completed_on=record.get("settledAt"),
        aio=AsyncDurablePromise(record["id"], store),
        _runtime=runtime,
    )


def create_key(record: Mapping[str, Any]) -> str | None:
    """Return the idempotency key of the create: its tag, None if that is empty, else the id (D13)."""
    key: str = record["tags"].get(KEY_HEADER, record["id"])
    return key or None


def complete_key(record: Mapping[str, Any]) -> str | None:
    """Return the idempotency key of the settlement: its header, None if that is empty, else the id (D13)."""
    if record["state"] in ("pending", "rejected_timedout"):
        return None
    headers = (record.get("value") or {}).get("headers") or {}
    key: str = headers.get(KEY_HEADER, record["id"])
    return key or None


def to_wire_text(data: str | None) -> str | None:
    """Return text as it travels: base64 of its UTF-8.

    Raises:
        TypeError: not text.
    """
    if data is not None and not isinstance(data, str):
        raise TypeError(f"data must be `str`, got {type(data).__name__}; pass JSON text: data=json.dumps(...)")
    return None if data is None else base64.b64encode(data.encode()).decode()


def age_of(record: Mapping[str, Any]) -> str:
    """Return how long ago a record was settled, for people: `3 min ago`."""
    seconds = max(0.0, time.time() - record.get("settledAt", 0) / 1000)
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds / 86_400:.0f} days ago"


def _value_of(value: Mapping[str, Any] | None) -> DurablePromiseValue:
    if not value:
        return DurablePromiseValue()
    headers = {name: text for name, text in (value.get("headers") or {}).items() if name not in _OURS}
    return DurablePromiseValue(headers or None, _text_of(value.get("data")))


def _text_of(data: str | None) -> str | None:
    if data is None:
        return None
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return data  # written by a client with another encoding: shown as it is
