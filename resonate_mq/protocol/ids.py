"""Promise ids: what is a legal id, and how ids are derived from one another (protocol section 6.1, D6, D12)."""

from hashlib import blake2b

from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.limits import MAX_GENERATED_ID_BYTES, MAX_ID_BYTES


def check_id(value: object, field: str) -> str:
    """Return `value` if it is a legal id, else raise.

    A legal id is a non-empty string of at most 1,024 bytes of UTF-8 without NUL (D12).

    Raises:
        InvalidRequestError: names `field`, what was found and what was expected.
    """
    if type(value) is not str:
        raise InvalidRequestError(f"{field} must be a string, got {describe(value)}")
    if not value:
        raise InvalidRequestError(f"{field} is required and must not be empty")
    # four bytes is the longest UTF-8 form of a character: short ids need not be encoded to be measured
    if len(value) > MAX_ID_BYTES // 4:
        size = len(value.encode("utf-8", "surrogatepass"))
        if size > MAX_ID_BYTES:
            raise InvalidRequestError(f"{field} is {size} bytes of UTF-8, at most {MAX_ID_BYTES} are allowed")
    if "\0" in value:
        raise InvalidRequestError(f"{field} must not contain null bytes")
    return value


def describe(value: object) -> str:
    """Return how an error message names the JSON type of `value`."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), type(value).__name__)


def child_id(parent_id: str, number: int, prefix: str) -> str:
    """Return the id of call `number` (from 1) of the context `parent_id` (protocol section 6.1).

    A generated id longer than 512 bytes becomes `{prefix}.h{32 hex}` of BLAKE2b (D12).
    """
    plain = f"{parent_id}.{number}"
    if len(plain) <= MAX_GENERATED_ID_BYTES // 4 or len(plain.encode()) <= MAX_GENERATED_ID_BYTES:
        return plain
    return f"{prefix}.h{blake2b(plain.encode(), digest_size=16).hexdigest()}"


def detached_id(parent_id: str, number: int, prefix: str) -> str:
    """Return the id of a detached call: `{prefix}.d{16 hex}` of BLAKE2b over `{parent}.{n}` (protocol 6.1)."""
    return f"{prefix}.d{blake2b(f'{parent_id}.{number}'.encode(), digest_size=8).hexdigest()}"
