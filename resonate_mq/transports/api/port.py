"""The channel port: one envelope there, one envelope back. Knows nothing of retries, batches or capabilities."""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

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
