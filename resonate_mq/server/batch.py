"""The `batch` extension (D9): several sequences of requests in one envelope.

A sequence runs in order and stops after its first answer that is not 200 or 300; sequences are independent and
each request is atomic by itself. Count is bounded here, bytes by the channel's body limit.
"""

from collections.abc import Callable
from typing import Any

from resonate_mq.protocol.envelope import Envelope, EnvelopeError, Reply, check_envelope, reply_envelope
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.ids import describe
from resonate_mq.protocol.limits import MAX_BATCH_REQUESTS
from resonate_mq.server.jobs import Item
from resonate_mq.server.kernel import Kernel

Frame = tuple[str, str]
"""kind and corrId an answer echoes."""


async def answer_batch(
    envelope: Envelope,
    to_item: Callable[[Envelope], Item],
    debug_time: Callable[[Envelope], int | None],
    kernel: Kernel,
) -> Reply:
    """Answer a batch: always 200 with one list of answers a sequence, unless the batch itself is malformed.

    Raises:
        InvalidRequestError: `sequences` is not an array of non-empty arrays, or holds too many requests.
    """
    now_ms = debug_time(envelope)
    waiting = []
    for sequence in _sequences(envelope.data):
        frames, items = _items(sequence, to_item)
        waiting.append((frames, kernel.submit_sequence(items, now_ms)))
    answers = []
    for frames, future in waiting:
        replies = await future
        answers.append([reply_envelope(*frame, reply) for frame, reply in zip(frames, replies, strict=False)])
    return Reply(200, {"sequences": answers})


def _sequences(data: dict[str, Any]) -> list[list[Any]]:
    sequences = data.get("sequences")
    if type(sequences) is not list:
        raise InvalidRequestError(f"sequences must be an array of arrays of requests, got {describe(sequences)}")
    count = 0
    for sequence in sequences:
        if type(sequence) is not list or not sequence:
            raise InvalidRequestError("each of sequences must be a non-empty array of requests")
        count += len(sequence)
    if count > MAX_BATCH_REQUESTS:
        raise InvalidRequestError(f"a batch holds at most {MAX_BATCH_REQUESTS} requests, got {count}")
    return sequences


def _items(sequence: list[Any], to_item: Callable[[Envelope], Item]) -> tuple[list[Frame], list[Item]]:
    """Parse a sequence; a request that cannot be parsed ends it with its refusal."""
    frames: list[Frame] = []
    items: list[Item] = []
    for body in sequence:
        frame, item = _item(body, to_item)
        frames.append(frame)
        items.append(item)
        if type(item) is Reply and not item.ok:
            break
    return frames, items


def _item(body: object, to_item: Callable[[Envelope], Item]) -> tuple[Frame, Item]:
    try:
        inner = check_envelope(body)
    except EnvelopeError as error:
        return (error.kind, error.corr_id), Reply(error.status, error.message)
    frame = (inner.kind, inner.corr_id)
    if inner.kind == "batch" or inner.kind.startswith("debug."):
        return frame, Reply(400, f"{inner.kind} is not allowed inside a batch")
    try:
        return frame, to_item(inner)
    except InvalidRequestError as error:
        return frame, Reply(error.status, error.message)
