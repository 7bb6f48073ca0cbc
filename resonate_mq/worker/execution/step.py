"""One durable step of an execution: what is known of its promise, and who waits for it. Starts and sends nothing."""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from resonate_mq.functions.codec import Codec
from resonate_mq.functions.settled import outcome_of
from resonate_mq.protocol.records import PENDING, Value
from resonate_mq.protocol.requests import PromiseCreate

Waiter = Callable[["Step"], None]


class Known(IntEnum):
    """What the server knows of a step's promise, as far as this process knows."""

    NO = 0
    QUEUED = 1
    YES = 2


class Step:
    """State of one step.

    Attributes:
        owner: id of the context that made it.
        number: in that context; explicit ids consume one too.
        remote: its outcome comes from elsewhere: rpc, promise, sleep, or a local call another execution runs.
        durable: False for `durable=False`: no promise, gone with the attempt.
        generated: its id is `<ctx.id>.<n>`, not one of the user's choice.
        early: its creation is armed at `Session.show_early`.
        draft: how its promise is created; kept until it is settled, to ask for its state again.
        known: whether its promise exists.
        record: the settled record.
        outside: an error that is not recorded: the server refused its promise.
        body: what computes it, where that is this execution.
        awaited: somebody asked for the outcome.
        waiters: called once, with the step, when it is settled.
        created_waiters: called once when its promise exists (or it is settled).
        enders: told when it is settled: bodies that must not end before it.
    """

    __slots__ = (
        "_decoded",
        "_error",
        "_value",
        "annotation",
        "awaited",
        "body",
        "codec",
        "created_waiters",
        "draft",
        "durable",
        "early",
        "enders",
        "generated",
        "id",
        "kind",
        "known",
        "label",
        "outside",
        "owner",
        "record",
        "remote",
        "settled",
        "waiters",
    )

    def __init__(self, draft: PromiseCreate, kind: str, label: str, owner: str, codec: Codec, annotation: Any) -> None:
        self.id = draft.id
        self.draft: PromiseCreate | None = draft
        self.kind = kind
        self.label = label
        self.owner = owner
        self.codec = codec
        self.annotation = annotation
        self.remote = False
        self.durable = True
        self.generated = True
        self.early = False
        self.known = Known.NO
        self.settled = False
        self.record: dict[str, Any] | None = None
        self.outside: Exception | None = None
        self.awaited = False
        self.body: Any = None
        self.waiters: list[Waiter] = []
        self.created_waiters: list[Waiter] = []
        self.enders: list[Waiter] = []
        self._decoded = False
        self._value: Any = None
        self._error: Exception | None = None

    @property
    def timeout_at(self) -> int:
        """Deadline of its promise, epoch ms; only while it is not settled."""
        assert self.draft is not None
        return self.draft.timeout_at

    def take(self, record: dict[str, Any]) -> None:
        """Keep a settled record as the outcome; decoded when somebody asks."""
        assert record["state"] != PENDING
        self.record = record
        self.settled = True
        self.draft = self.body = None

    def remember(self, value: Any, encoded: Value) -> None:
        """Spare decoding: the record just taken carries `encoded`, which this process made from `value`."""
        record_value = self.record["value"] if self.record else {}
        if record_value.get("data") == encoded.data:
            try:
                self._value = self.codec.echo(value, encoded, self.annotation, f"value of {self.id}")
            except Exception as error:  # noqa: BLE001 - the annotation does not fit: the same as when decoding
                self._error = error
            self._decoded = True

    def give(self, value: Any, error: Exception | None) -> None:
        """Settle a step that has no record: not durable, or refused by the server."""
        self.settled = self._decoded = True
        self._value, self._error = value, error
        self.draft = self.body = None

    def outcome(self) -> tuple[Any, Exception | None]:
        """Return (value, None) or (None, error) of a settled step."""
        self.awaited = True
        if not self._decoded:
            assert self.record is not None
            self._value, self._error = outcome_of(self.codec, self.record, self.annotation)
            self._decoded = True
            self.record = None
        return self._value, self._error
