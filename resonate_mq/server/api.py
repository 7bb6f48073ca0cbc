"""The API: one envelope in, one envelope out, whatever channel carried it (protocol sections 1.1, 1.2, 1.4; D9).

Owns the order of the checks and the requests that are the server's own (server.info, worker.*, debug.start/stop).
Everything else goes to the kernel. Knows no HTTP.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import orjson

from resonate_mq.protocol import requests as r
from resonate_mq.protocol.envelope import Envelope, EnvelopeError, Reply, decode_envelope, reply_envelope
from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.ids import describe
from resonate_mq.protocol.parse import Profile, parse_request
from resonate_mq.server.authentication import TokenGate
from resonate_mq.server.batch import answer_batch
from resonate_mq.server.jobs import Ask, Item
from resonate_mq.server.kernel import Kernel
from resonate_mq.server.metrics import Metrics
from resonate_mq.server.presence import HELLO_EXPIRES_S, Presence
from resonate_mq.stores.port import StoreError

logger = logging.getLogger(__name__)

DEBUG_TIME = "resonate:debug_time"
_OWN = (r.ServerInfo, r.WorkerHello, r.WorkerSearch, r.DebugStart, r.DebugStop)


class Api:
    """Answers envelopes.

    Args:
        kernel: where requests are applied.
        profile: what this server accepts.
        gate: who may ask.
        presence: announced processes.
        info: data of `server.info`.
        held: (pid, task id) of every acquired task.
    """

    def __init__(
        self,
        kernel: Kernel,
        profile: Profile,
        gate: TokenGate,
        presence: Presence,
        info: dict[str, Any],
        held: Callable[[], Awaitable[list[tuple[str, str]]]],
        metrics: Metrics,
    ) -> None:
        self._kernel = kernel
        self._profile = profile
        self._gate = gate
        self._presence = presence
        self._held = held
        self._metrics = metrics
        self.info = info

    async def handle(self, body: bytes, token: str | None = None) -> tuple[int, bytes]:
        """Answer the bytes of one request envelope with (status, bytes of the answer's envelope). Never raises.

        Args:
            body: JSON.
            token: bearer token the channel carried, besides `head.auth`.
        """
        kind, corr_id = "unknown", "0"
        try:
            envelope = decode_envelope(body)
            kind, corr_id = envelope.kind, envelope.corr_id
            self._gate.check(envelope.head.get("auth"), token)
            reply = await self._answer(envelope)
        except EnvelopeError as error:
            kind, corr_id = error.kind, error.corr_id
            reply = Reply(error.status, error.message)
        except InvalidRequestError as error:
            reply = Reply(error.status, error.message)
        except StoreError as error:
            reply = Reply(503, f"the store is unavailable, retry: {error}")
        except Exception:  # boundary: a bug in one request must be answered as one
            logger.exception("a request failed", extra={"kind": kind})
            self._metrics.failed("api")
            reply = Reply(500, "Internal error: the server's log has the details")
        self._metrics.answered(kind if kind in _COUNTED else "unknown", reply.status)
        return reply.status, orjson.dumps(reply_envelope(kind, corr_id, reply))

    async def handle_envelope(self, envelope: dict[str, Any]) -> dict[str, Any]:
        """Answer an envelope of the same process. Both sides are encoded, so nothing is ever shared with the store."""
        try:
            body = orjson.dumps(envelope)
        except orjson.JSONEncodeError as error:
            head = envelope.get("head")
            corr_id = head.get("corrId") if isinstance(head, dict) else "0"
            reply = Reply(400, f"Invalid request envelope: {error}")
            return reply_envelope(str(envelope.get("kind", "unknown")), str(corr_id), reply)
        head = envelope.get("head")
        _, answer = await self.handle(body, head.get("auth") if isinstance(head, dict) else None)
        decoded: dict[str, Any] = orjson.loads(answer)
        return decoded

    def description(self) -> dict[str, Any]:
        """Return the data of `server.info`; `now` is about the store's time (epoch ms), for comparing clocks."""
        return {**self.info, "now": self._kernel.now_ms()}

    async def _answer(self, envelope: Envelope) -> Reply:
        if envelope.kind == "batch" and "batch" in self._profile.extensions:
            return await answer_batch(envelope, self._item, self._debug_time, self._kernel)
        now_ms = self._debug_time(envelope)
        item = self._item(envelope)
        if type(item) is Reply:
            return item
        return await self._kernel.submit(item, now_ms)

    def _item(self, envelope: Envelope) -> Item:
        """Return what the kernel has to do for a request, or the reply of a request the server answers itself.

        Raises:
            InvalidRequestError: the request is malformed.
        """
        request = parse_request(envelope.kind, envelope.data, envelope.head, self._profile)
        if type(request) is r.TaskHeartbeat:
            self._presence.heartbeat(request.pid, self._kernel.now_ms())
        if isinstance(request, _OWN):
            return self._own(request)
        return request

    def _debug_time(self, envelope: Envelope) -> int | None:
        if not self._profile.debug or DEBUG_TIME not in envelope.head:
            return None
        value = envelope.head[DEBUG_TIME]
        if type(value) is not int or value < 0:
            raise InvalidRequestError(f"head '{DEBUG_TIME}' must be an integer >= 0, got {describe(value)}")
        return value

    def _own(self, request: r.Request) -> Reply | Ask:
        if isinstance(request, r.WorkerHello):
            self._presence.announce(request, self._kernel.now_ms())
            return Reply(200, {"storeId": self.info["storeId"], "expiresIn": int(HELLO_EXPIRES_S * 1000)})
        if isinstance(request, r.WorkerSearch):
            return Ask(partial(self._workers, request.group))
        if isinstance(request, r.DebugStart | r.DebugStop):
            return self._kernel.set_paused(request)
        return Reply(200, self.description())

    async def _workers(self, group: str | None) -> dict[str, Any]:
        return {"workers": self._presence.search(group, await self._held())}


_COUNTED = frozenset(
    {
        "batch",
        "promise.get",
        "promise.create",
        "promise.settle",
        "promise.register_callback",
        "promise.register_listener",
        "promise.search",
        "task.get",
        "task.create",
        "task.acquire",
        "task.release",
        "task.fulfill",
        "task.suspend",
        "task.fence",
        "task.heartbeat",
        "task.halt",
        "task.continue",
        "task.search",
        "schedule.get",
        "schedule.create",
        "schedule.delete",
        "schedule.search",
        "debug.start",
        "debug.stop",
        "debug.reset",
        "debug.tick",
        "debug.snap",
        "server.info",
        "worker.hello",
        "worker.search",
    }
)
"""Kinds that get a counter of their own; a stranger must not be able to make counters."""
