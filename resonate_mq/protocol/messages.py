"""Messages from the server to workers: execute and unblock (protocol section 1.3), single or packed (D41).

A single message has the official form. A pack carries several hints of one group, or several unblocks for one
process, and goes only to processes that announced themselves by `worker.hello`.
"""

from typing import Any, NamedTuple

import orjson

from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.ids import describe
from resonate_mq.protocol.limits import MAX_SAFE_INTEGER


class Hint(NamedTuple):
    """Says that a task may be acquired at a version; the truth is in the store (design section 2.1)."""

    task_id: str
    version: int


class Execute(NamedTuple):
    """Hints from one store. `store_id` is None from a server that does not announce one (D1)."""

    store_id: str | None
    server_url: str | None
    hints: tuple[Hint, ...]


class Unblock(NamedTuple):
    """Settled promises a process listens to, as PromiseRecords."""

    store_id: str | None
    promises: tuple[dict[str, Any], ...]


Message = Execute | Unblock


def encode_message(message: Message) -> bytes:
    """Return compact ASCII-only JSON on one line (protocol section 1.5); a single hint gives the official form."""
    head: dict[str, Any] = {}
    if message.store_id is not None:
        head["resonate-mq:storeId"] = message.store_id
    data: dict[str, Any]
    if isinstance(message, Execute):
        if message.server_url is not None:
            head["serverUrl"] = message.server_url
        tasks = [{"id": hint.task_id, "version": hint.version} for hint in message.hints]
        data = {"task": tasks[0]} if len(tasks) == 1 else {"tasks": tasks}
        return ascii_json({"kind": "execute", "head": head, "data": data})
    promises = list(message.promises)
    data = {"promise": promises[0]} if len(promises) == 1 else {"promises": promises}
    return ascii_json({"kind": "unblock", "head": head, "data": data})


def ascii_json(value: object) -> bytes:
    """Return compact JSON whose bytes are all ASCII, so that no reader can split a character (protocol 1.5)."""
    text = orjson.dumps(value)
    if text.isascii():
        return text
    parts = []
    for character in text.decode():
        point = ord(character)
        if point < 0x80:
            parts.append(character)
        elif point < 0x10000:
            parts.append(f"\\u{point:04x}")
        else:
            point -= 0x10000
            parts.append(f"\\u{0xD800 + (point >> 10):04x}\\u{0xDC00 + (point & 0x3FF):04x}")
    return "".join(parts).encode()


def decode_message(payload: bytes | str) -> Message:
    """Parse a message.

    Raises:
        InvalidRequestError: the bytes are not a message of this protocol; says what was found and expected.
    """
    try:
        body = orjson.loads(payload)
    except ValueError as error:
        raise InvalidRequestError(f"message is not JSON: {error}") from error
    if type(body) is not dict:
        raise InvalidRequestError(f"message must be an object, got {describe(body)}")
    head, data = body.get("head", {}), body.get("data")
    if type(head) is not dict or type(data) is not dict:
        raise InvalidRequestError("message must have an object 'data' and, if present, an object 'head'")
    store_id, server_url = head.get("resonate-mq:storeId"), head.get("serverUrl")
    if not isinstance(store_id, str | None) or not isinstance(server_url, str | None):
        raise InvalidRequestError("message head: 'serverUrl' and 'resonate-mq:storeId' must be strings")
    kind = body.get("kind")
    if kind == "execute":
        return Execute(store_id, server_url, tuple(_hint(task) for task in _listed(data, "task", "tasks")))
    if kind == "unblock":
        return Unblock(store_id, tuple(_promise(record) for record in _listed(data, "promise", "promises")))
    raise InvalidRequestError(f"message kind must be 'execute' or 'unblock', got {kind!r}")


def _listed(data: dict[str, Any], one: str, many: str) -> list[Any]:
    if one in data:
        return [data[one]]
    several = data.get(many)
    if type(several) is not list or not several:
        raise InvalidRequestError(f"message data must have '{one}', or a non-empty array '{many}'")
    return several


def _hint(task: object) -> Hint:
    if type(task) is not dict or type(task.get("id")) is not str or not task["id"]:
        raise InvalidRequestError("execute: task must be an object with a string 'id'")
    version = task.get("version")
    if type(version) is not int or not 0 <= version <= MAX_SAFE_INTEGER:
        raise InvalidRequestError(f"execute: task version must be an integer >= 0, got {version!r}")
    return Hint(task["id"], version)


def _promise(record: object) -> dict[str, Any]:
    if type(record) is not dict or type(record.get("id")) is not str or type(record.get("state")) is not str:
        raise InvalidRequestError("unblock: promise must be a record with string 'id' and 'state'")
    return record
