"""Addresses of `resonate:target` tags and listeners (protocol section 5, design section 6, D28).

An address is a URI whose scheme is the name of a configured transport. Validity is syntactic; whether somebody
listens there is not this module's business. Names keep their case and parts stay percent-encoded as written:
nothing goes through a URL parser that would lower-case a group.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

from resonate_mq.protocol.errors import InvalidRequestError

ALWAYS_VALID = frozenset({"http", "https", "poll"})

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f<>\"{}|\\^`]")
_NAME_SAFE = "-._~:"
_REMEMBERED_CHARACTERS = 200


class Address(NamedTuple):
    """One parsed address.

    Attributes:
        transport: name of the transport, the scheme as written.
        cast: `any`, `uni`, or `raw` for a destination handed to the transport as it is.
        group: worker group, decoded; for `raw` the destination (URL, subject, queue, topic).
        pid: process, decoded: required for `uni`, a preference for `any`, else None.
    """

    transport: str
    cast: str
    group: str
    pid: str | None

    def __str__(self) -> str:
        if self.cast == "raw":
            return self.group if self.transport in ("http", "https") else f"{self.transport}://{self.group}"
        return format_address(self.transport, self.cast, self.group, self.pid)


def format_address(transport: str, cast: str, group: str, pid: str | None = None) -> str:
    """Return `<transport>://<cast>@<group>[/<pid>]` with its parts percent-encoded."""
    text = f"{transport}://{cast}@{quote(group, safe=_NAME_SAFE)}"
    return text if pid is None else f"{text}/{quote(pid, safe=_NAME_SAFE)}"


def parse_address(text: object, transports: frozenset[str] = ALWAYS_VALID, field: str = "address") -> Address:
    """Parse an address.

    Args:
        text: what the wire gave.
        transports: names that may stand as scheme, besides `http`, `https` and `poll`.
        field: how the error message names it, for example `resonate:target`.

    Raises:
        InvalidRequestError: says what was found and which forms are expected.
    """
    if type(text) is not str:
        raise InvalidRequestError(f"Invalid {field} address: expected a string")
    if len(text) <= _REMEMBERED_CHARACTERS:
        return _parse_remembered(text, transports, field)
    return _parse(text, transports, field)


def _parse(text: str, transports: frozenset[str], field: str) -> Address:
    scheme, separator, rest = text.partition("://")
    if not separator or not _SCHEME.match(scheme):
        raise _invalid(field, text, "no transport; expected for example poll://any@<group>")
    if _FORBIDDEN.search(text):
        raise _invalid(field, text, "it contains a space or control character; percent-encode it")
    if scheme in ("http", "https"):
        if not rest or rest[0] in "/?#":
            raise _invalid(field, text, "no host")
        return Address(scheme, "raw", text, None)
    if scheme not in transports and scheme not in ALWAYS_VALID:
        known = ", ".join(sorted(transports | ALWAYS_VALID))
        raise _invalid(field, text, f"transport '{scheme}' is not configured here; configured: {known}")
    return _parse_cast(scheme, rest, text, field)


_parse_remembered = lru_cache(maxsize=4096)(_parse)  # the same few addresses come with every request


def destination_of(target: str) -> str:
    """Return the routing key of a target: transport, cast and group without the preferred process.

    `poll://any@g/p1` and `poll://any@g` share the key `poll://any@g`; unicast and raw targets are their own key.
    """
    head, at, tail = target.partition("@")
    if not at or not head.endswith("://any"):
        return target
    return f"{head}@{tail.partition('/')[0]}"


def _parse_cast(scheme: str, rest: str, text: str, field: str) -> Address:
    cast, at, tail = rest.partition("@")
    if not at:
        if scheme == "poll" or not rest.strip("/"):
            raise _invalid(field, text, f"expected {scheme}://any@<group>[/<pid>] or {scheme}://uni@<group>/<pid>")
        return Address(scheme, "raw", rest, None)
    if scheme == "poll":
        cast = cast.partition(":")[0]  # a password is tolerated and ignored (protocol section 5.1)
    if cast not in ("any", "uni"):
        raise _invalid(field, text, f"cast '{cast}' is neither 'any' nor 'uni'")
    tail = re.split(r"[?#]", tail, maxsplit=1)[0]
    group, _, pid = tail.partition("/")
    if scheme == "poll":
        group = re.sub(r":\d*\Z", "", group)  # a port is tolerated and ignored
    if not group:
        raise _invalid(field, text, "no group")
    if cast == "uni" and not pid:
        raise _invalid(field, text, f"unicast needs a process: {scheme}://uni@<group>/<pid>")
    return Address(scheme, cast, unquote(group), unquote(pid) if pid else None)


def _invalid(field: str, text: str, why: str) -> InvalidRequestError:
    shown = text if len(text) <= 120 else text[:117] + "..."
    return InvalidRequestError(f"Invalid {field} address {shown!r}: {why}")
