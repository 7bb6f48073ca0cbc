"""Hot records between units (D43): bounded by number and by the bytes of large payloads, oldest first out."""

from itertools import islice

from resonate_mq.protocol.records import Promise

DEFAULT_RECORDS = 100_000
DEFAULT_PAYLOAD_BYTES = 64 * 1024 * 1024
_LIGHT = 1024  # payloads up to this many characters are covered by the limit on the number of records
_KEPT_PERCENT = 90  # evicting in strides walks past the dict's deleted entries once, not at every insertion


class RecordCache:
    """Promises as last committed, plus those of the running unit.

    Attributes:
        records: by id; None: known to be absent, which holds only within a unit.
    """

    __slots__ = ("_heavy", "_max_payload", "_max_records", "_payload", "records")

    def __init__(self, max_records: int = DEFAULT_RECORDS, max_payload_bytes: int = DEFAULT_PAYLOAD_BYTES) -> None:
        self.records: dict[str, Promise | None] = {}
        self._heavy: dict[str, int] = {}
        self._payload = 0
        self._max_records = max_records
        self._max_payload = max_payload_bytes

    def weigh(self, promise: Promise) -> None:
        """Note the size of a promise that was loaded or changed."""
        size = len(promise.param.data or "") + len(promise.value.data or "")
        for headers in (promise.param.headers, promise.value.headers):
            if headers:
                size += sum(map(len, headers.values()))
        if size > _LIGHT or promise.id in self._heavy:
            self._payload += size - self._heavy.get(promise.id, 0)
            self._heavy[promise.id] = size

    def forget(self, promise_id: str) -> None:
        """Drop one record; harmless when it is not there."""
        self.records.pop(promise_id, None)
        size = self._heavy.pop(promise_id, None)
        if size is not None:
            self._payload -= size

    def clear(self) -> None:
        """Drop everything."""
        self.records.clear()
        self._heavy.clear()
        self._payload = 0

    def trim(self) -> None:
        """Evict down to the limits; only between units."""
        excess = len(self.records) - self._max_records
        if excess > 0:
            kept = self._max_records * _KEPT_PERCENT // 100
            for one in list(islice(self.records, len(self.records) - kept)):
                self.forget(one)
        if self._payload > self._max_payload:
            kept = self._max_payload * _KEPT_PERCENT // 100
            for one in list(self._heavy):
                if self._payload <= kept:
                    break
                self.forget(one)
