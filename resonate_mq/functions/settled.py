"""What a settled promise means to who awaits it: a value or an exception (features B4, B7)."""

from typing import Any

from resonate_mq.functions.codec import Codec
from resonate_mq.functions.errors import DecodeError, ResonateCanceledError, ResonateTimedoutError
from resonate_mq.functions.signatures import UNTYPED
from resonate_mq.protocol.records import CANCELED, PENDING, RESOLVED, TIMEDOUT


def outcome_of(codec: Codec, record: dict[str, Any], annotation: Any = UNTYPED) -> tuple[Any, Exception | None]:
    """Return (value, None) of a resolved promise, else (None, error).

    Args:
        record: a settled PromiseRecord as on the wire.
        annotation: restores the value; a value that does not fit is an error of its own.
    """
    state = record["state"]
    if state == RESOLVED:
        try:
            return codec.decode(record.get("value"), annotation, f"value of {record['id']}"), None
        except DecodeError as error:
            return None, error
    if state == CANCELED:
        return None, ResonateCanceledError(record["id"])
    if state == TIMEDOUT:
        return None, ResonateTimedoutError(record["id"], record["timeoutAt"] / 1000)
    if state == PENDING:
        raise ValueError(f"promise {record['id']!r} is still pending")
    return None, codec.decode_error(record.get("value"))
