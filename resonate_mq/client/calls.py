"""One request to the server and its answer as a client sees them: data, or a `ResonateStoreError` (B7).

Owns the way from any event loop to the client's own, the error codes, and the tags users write with old names
(D38). Knows nothing of what the requests mean.
"""

from typing import Any

from resonate_mq.client.runtime import Runtime
from resonate_mq.errors import ResonateShutdownError, ResonateStoreError
from resonate_mq.protocol import tags as tag_names
from resonate_mq.protocol.envelope import Reply
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.requests import Request
from resonate_mq.transports.port import TransportError
from resonate_mq.wiring import Opened
from resonate_mq.worker.listeners import ListenError

_OLD_NAMES = {"resonate:invoke": tag_names.TARGET, "resonate:timeout": tag_names.TIMER}


class Calls:
    """Requests of one client, from any thread and any event loop."""

    def __init__(self, runtime: Runtime[Opened]) -> None:
        self.runtime = runtime

    async def call(self, request: Request, *, missing: int = 40400) -> dict[str, Any]:
        """Return the data of a good answer.

        Args:
            missing: server code of a 404.

        Raises:
            ResonateStoreError: the server refused it, or cannot be reached (100.50300).
        """
        return self.data_of(await self.reply(request), missing=missing)

    async def reply(self, request: Request) -> Reply:
        """Return the answer, whatever its status.

        Raises:
            ResonateStoreError: the server cannot be reached, or the request cannot be written.
        """
        return await self.runtime.run(self._reply(request))

    @staticmethod
    def data_of(reply: Reply, *, missing: int = 40400) -> dict[str, Any]:
        """Return the data of a good answer, raise the others."""
        if reply.ok:
            data: dict[str, Any] = reply.data
            return data
        raise store_error(reply, missing)

    async def wire_tags(self, tags: dict[str, str] | None, *, invoking: bool = False) -> dict[str, str]:
        """Return tags as they are stored: today's names, targets as addresses.

        Args:
            invoking: the promise is an invocation: without a target it goes to our own group.
        """
        wire = {_OLD_NAMES.get(name, name): value for name, value in (tags or {}).items()}
        if tag_names.TARGET in wire or invoking:
            wire[tag_names.TARGET] = await self.runtime.run(self._address(wire.get(tag_names.TARGET)))
        return wire

    async def _address(self, target: str | None) -> str:
        return await (await self.runtime.ready()).routing.address(target)

    async def _reply(self, request: Request) -> Reply:
        with translated(self.runtime):
            return await (await self.runtime.ready()).requester.call(request)


class translated:  # noqa: N801  (reads as what it does to errors)
    """Turn errors of the layers below into those of features B7."""

    def __init__(self, runtime: Runtime[Opened]) -> None:
        self._runtime = runtime

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InvalidRequestError):
            raise ResonateStoreError(error.message, error.status * 100) from error
        if isinstance(error, ListenError):
            raise ResonateStoreError(str(error), error.status * 100) from error
        if isinstance(error, TransportError) and self._runtime.is_stopping:
            raise ResonateShutdownError("the client was stopped before this call was answered") from error
        if isinstance(error, TransportError):
            raise ResonateStoreError(str(error), 50300) from error


def store_error(reply: Reply, missing: int = 40400) -> ResonateStoreError:
    """Return the error for a refused request."""
    code = missing if reply.status == 404 else reply.status * 100
    return ResonateStoreError(str(reply.data), code)
