"""How groups and processes are called on the broker. Pure; no two groups share a name.

Names stay readable: letters, digits and `-_.` stand for themselves, other bytes of UTF-8 are `+` and two hex digits.
What would exceed the 255 bytes of AMQP is hashed under a prefix that no readable name has.
"""

from functools import lru_cache
from hashlib import blake2b

GROUP_PREFIX = "resonate.q."
HASHED_PREFIX = "resonate.h."
UNICAST_EXCHANGE = "resonate.uni"
DEAD_QUEUE = "resonate.dead"
MAX_NAME_BYTES = 255
MAX_MESSAGE_ID_BYTES = 200

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def escape(name: str) -> str:
    """Return `name` in characters every AMQP client accepts; different names stay different."""
    raw = name.encode("utf-8", "surrogatepass")
    if all(byte in _PLAIN for byte in raw):
        return name
    return "".join(chr(byte) if byte in _PLAIN else f"+{byte:02X}" for byte in raw)


@lru_cache(maxsize=10_000)
def queue_of(group: str) -> str:
    """Return the queue of a group's anycast messages."""
    name = GROUP_PREFIX + escape(group)
    return name if len(name) <= MAX_NAME_BYTES else HASHED_PREFIX + _digest(group)


@lru_cache(maxsize=10_000)
def unicast_key(group: str, pid: str) -> str:
    """Return the routing key of one process on the unicast exchange."""
    key = f"{escape(group)}/{escape(pid)}"
    return key if len(key) <= MAX_NAME_BYTES else "/" + _digest(key)


def message_id_of(message_id: str) -> str:
    """Return a message id that fits the property: long task ids are hashed."""
    if len(message_id) <= MAX_MESSAGE_ID_BYTES // 4 or len(message_id.encode()) <= MAX_MESSAGE_ID_BYTES:
        return message_id
    return "h-" + _digest(message_id)


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
