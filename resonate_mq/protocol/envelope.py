"""The envelope around every request and answer (protocol sections 1.1, 1.2, 1.4)."""

from typing import Any, NamedTuple

import orjson

from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.ids import describe
from resonate_mq.protocol.limits import PROTOCOL_VERSION


class Envelope(NamedTuple):
    """A request whose frame is right; `data` is still unchecked."""

    kind: str
    corr_id: str
    head: dict[str, Any]
    data: dict[str, Any]


class Reply(NamedTuple):
    """Answer of one operation: an object when `status` is 2xx or 300, else a sentence (protocol section 1.2)."""

    status: int
    data: Any

    @property
    def ok(self) -> bool:
        """Tell whether a batch sequence goes on after it."""
        return self.status in (200, 300)


class EnvelopeError(InvalidRequestError):
    """The frame is wrong; carries what could be recovered of `kind` and `corrId`, which must be echoed."""

    def __init__(self, message: str, kind: str = "unknown", corr_id: str = "0") -> None:
        super().__init__(message)
        self.kind = kind
        self.corr_id = corr_id


def decode_envelope(body: bytes) -> Envelope:
    """Parse the bytes of a request.

    Raises:
        EnvelopeError: not JSON, or not of the envelope's shape, or another protocol version.
    """
    try:
        decoded = orjson.loads(body)
    except ValueError as error:
        raise EnvelopeError(f"Invalid request envelope: not JSON: {error}") from error
    return check_envelope(decoded)


def check_envelope(body: object) -> Envelope:
    """Check the frame of a decoded request, in the order of protocol section 1.4.

    Raises:
        EnvelopeError: the frame is wrong.
    """
    if type(body) is not dict:
        raise EnvelopeError(f"Invalid request envelope: must be an object, got {describe(body)}")
    kind, head = body.get("kind"), body.get("head")
    corr_id = head.get("corrId") if type(head) is dict else None
    kind_text = kind if type(kind) is str else "unknown"
    corr_text = corr_id if type(corr_id) is str else "0"
    if type(kind) is not str:
        raise _frame("kind", "a string", body, kind_text, corr_text)
    if type(head) is not dict:
        raise _frame("head", "an object", body, kind_text, corr_text)
    if type(corr_id) is not str:
        raise _frame("corrId", "a string in head", head, kind_text, corr_text)
    version = head.get("version")
    if type(version) is not str:
        raise _frame("version", "a string in head", head, kind_text, corr_text)
    if "data" not in body:
        raise _frame("data", "an object", body, kind_text, corr_text)
    if not kind:
        raise EnvelopeError("Missing or invalid 'kind' field — must be a non-empty string", "", corr_text)
    data = body["data"]
    if type(data) is not dict:
        raise EnvelopeError("Invalid 'data' field — must be an object", kind_text, corr_text)
    if version != PROTOCOL_VERSION:
        raise EnvelopeError(
            f"Unsupported protocol version '{version}', supported versions: [\"{PROTOCOL_VERSION}\"]",
            kind,
            corr_text,
        )
    return Envelope(kind, corr_id, head, data)


def _frame(field: str, expected: str, found: dict[str, Any], kind: str, corr_id: str) -> EnvelopeError:
    what = describe(found[field]) if field in found else "nothing"
    return EnvelopeError(f"Invalid request envelope: '{field}' must be {expected}, got {what}", kind, corr_id)


def request_envelope(
    kind: str, corr_id: str, data: dict[str, Any], head: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the envelope of a request; `head` adds members such as `auth`."""
    frame = {"corrId": corr_id, "version": PROTOCOL_VERSION}
    return {"kind": kind, "head": frame if head is None else {**head, **frame}, "data": data}


def reply_envelope(kind: str, corr_id: str, reply: Reply) -> dict[str, Any]:
    """Return the envelope of an answer: kind and corrId echoed."""
    return {
        "kind": kind,
        "head": {"corrId": corr_id, "status": reply.status, "version": PROTOCOL_VERSION},
        "data": reply.data,
    }
