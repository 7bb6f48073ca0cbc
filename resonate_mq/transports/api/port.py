"""The channel port: one envelope there, one envelope back. Knows nothing of retries, batches or capabilities."""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from resonate_mq.protocol.envelope import request_envelope
from resonate_mq.transports.port import TransportError

Envelope = dict[str, Any]


class Channel(Protocol):
    """One way to a server. Constructed closed and on no event loop; `open()` is its usable life on one loop.

    Attributes:
        name: how messages and logs call it, secrets masked.
    """

    name: str

    def open(self) -> AbstractAsyncContextManager["Channel"]:
        """Make it usable without waiting for the server; on exit close its connections."""
        ...

    async def send(self, envelope: Envelope) -> Envelope:
        """Return the answer's envelope, whatever its status.

        Raises:
            TransportError: no answer. The server may or may not have executed the request; `retryable` says
                whether trying again makes sense.
        """
        ...

    async def server_info(self, head: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return what the server says about itself (D1), None when it says nothing: an official server.

        Where the channel has a way besides the envelope it uses that, so that no official server ever sees a kind it
        does not know. `head` holds what every request's head has besides, such as `auth`.

        Raises:
            TransportError: no answer, or none for the moment.
        """
        ...


async def info_by_envelope(channel: Channel, head: dict[str, Any] | None) -> dict[str, Any] | None:
    """Ask with the envelope kind `server.info`; `head` adds members such as `auth`.

    Raises:
        TransportError: no answer, or none for the moment.
    """
    answer = await channel.send(request_envelope("server.info", "info", {}, head))
    status, data = answer["head"].get("status"), answer.get("data")
    if status in (429, 500, 503):
        raise TransportError(f"{channel.name}: server.info: {status} {data}")
    return data if status == 200 and type(data) is dict else None
