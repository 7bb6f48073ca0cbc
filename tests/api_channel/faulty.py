"""The real server API in process behind a channel that records, loses answers and goes away on request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from resonate_mq.protocol.parse import Profile
from resonate_mq.server.api import Api
from resonate_mq.server.authentication import TokenGate
from resonate_mq.server.kernel import Kernel
from resonate_mq.server.metrics import Metrics
from resonate_mq.server.presence import Presence
from resonate_mq.stores.memory import MemoryStore
from resonate_mq.transports.api.direct import Handler
from resonate_mq.transports.api.port import info_by_envelope
from resonate_mq.transports.port import TransportError
from tests.support.extensions import ENABLED

Envelope = dict[str, Any]


@asynccontextmanager
async def api(extensions: frozenset[str] = ENABLED, token: str | None = None) -> AsyncIterator[Handler]:
    """A kernel on the memory store; gives the handler of envelopes."""
    store = MemoryStore()
    async with store.open():
        metrics = Metrics()
        kernel = Kernel(store, metrics)
        info = {
            "storeId": store.store_id,
            "name": "test",
            "version": "0",
            "capabilities": sorted(extensions),
            "transports": ["poll", "amqp"],
            "defaultTransport": "amqp",
        }
        profile = Profile(frozenset({"poll", "amqp"}), extensions, True)
        presence = Presence(profile.transports)
        answering = Api(kernel, profile, TokenGate(token), presence, info, store.held, metrics)
        running = asyncio.create_task(kernel.run())
        try:
            yield answering.handle_envelope
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


class FaultyChannel:
    """Records every envelope; what goes wrong is set by the test.

    Attributes:
        sent: envelopes in the order sent.
        lose_answers: so many answers are lost after the server executed the request.
        away: nothing reaches the server while True.
        gate: while set, requests wait for it before they reach the server.
        override: answers instead of the server where it returns something.
    """

    name = "faulty"

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.sent: list[Envelope] = []
        self.answers: list[Envelope] = []
        self.lose_answers = 0
        self.lose_kind: str | None = None
        self.away = False
        self.gate: asyncio.Event | None = None
        self.override: Any = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[FaultyChannel]:
        yield self

    async def send(self, envelope: Envelope) -> Envelope:
        orjson.dumps(envelope)  # as a channel over a network would
        self.sent.append(envelope)
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise TransportError("connection refused")
        instead = None if self.override is None else self.override(envelope)
        answer = await self._handler(envelope) if instead is None else instead
        if self.lose_answers and (self.lose_kind is None or self.lose_kind in kinds([envelope])):
            self.lose_answers -= 1
            raise TransportError("connection reset before the answer")
        self.answers.append(answer)
        return answer

    async def server_info(self, head: dict[str, Any] | None) -> Envelope | None:
        return await info_by_envelope(self, head)


def kinds(envelopes: list[Envelope]) -> list[str]:
    """The kinds of all requests, those inside batches included (the batch itself named first)."""
    found = []
    for envelope in envelopes:
        found.append(envelope["kind"])
        for sequence in envelope["data"].get("sequences", ()):
            found += [inner["kind"] for inner in sequence]
    return found
