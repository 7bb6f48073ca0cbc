"""One message to the server and what its answers mean for the operations in it.

Owns what the server can do (D1) and the three ways a request travels: alone, in a `batch`, or step by step where
the server knows no batch. Knows no queue, no retry and no deadline.
"""

from __future__ import annotations

from typing import Any

from resonate_mq.protocol.envelope import Reply, request_envelope
from resonate_mq.transports.api.adapt import ServerFacts, facts_of
from resonate_mq.transports.api.operation import BUSY, Operation
from resonate_mq.transports.api.port import Channel, Envelope
from resonate_mq.transports.port import TransportError

UNREAD = ("unknown", "0")  # kind and corrId of an answer to what the server did not read
REFUSED_UNREAD = (400, 413)  # not JSON, too large: another try would end alike


class Exchange:
    """Messages to one server.

    Args:
        channel: how they travel.
        token: goes into `head.auth` of every message.
        allowed: extensions that may be used at all.

    Attributes:
        facts: what the server says about itself, None until it was asked (again).
        last_facts: what it said last; an official server's before the first answer.
    """

    def __init__(self, channel: Channel, token: str | None, allowed: frozenset[str]) -> None:
        self._channel = channel
        self._head = None if token is None else {"auth": token}
        self._allowed = allowed
        self.facts: ServerFacts | None = None
        self.last_facts = ServerFacts()
        self._next_corr_id = 0

    @property
    def batches(self) -> bool:
        """Whether several operations may share a message, as far as is known."""
        return self.facts is None or "batch" in self.facts.capabilities

    async def learn(self) -> ServerFacts:
        """Ask what the server can do; one that does not know the question does what the protocol says.

        Raises:
            TransportError: no answer, or none for the moment.
        """
        info = await self._channel.server_info(self._head) if "server.info" in self._allowed else None
        facts = ServerFacts() if info is None else facts_of(info, self._allowed)
        self.facts = self.last_facts = facts
        return facts

    async def run(self, batch: list[Operation]) -> list[Operation]:
        """Send and hand out answers; return the operations that must be tried again.

        Raises:
            TransportError: no answer; any of the operations may have been executed.
            TypeError, ValueError: something in it cannot be encoded.
        """
        facts = self.facts or await self.learn()
        capabilities = facts.capabilities
        live = [operation for operation in batch if not operation.answer_locally(capabilities)]
        if not live:
            return []
        if len(live) == 1 and (len(live[0].steps) == 1 or live[0].solo):
            await self._one_by_one(live[0])
        elif "batch" not in capabilities:
            for operation in live:  # facts changed since this batch was taken
                await self._one_by_one(operation)
        elif not await self._together(live):
            return live
        return [operation for operation in live if not operation.settle(self.forget)]

    async def _one_by_one(self, operation: Operation) -> None:
        for step in operation.steps:
            envelope = self._envelope(step.kind, step.data, step.head)
            answer = await self._channel.send(envelope)
            operation.answers.append(_reply_of(envelope, answer, self._channel.name))
            if not operation.answers[-1].ok:
                return

    async def _together(self, batch: list[Operation]) -> bool:
        """Send one `batch`; False when the server refused it as a whole and everything must go another way."""
        sequences = [
            [self._envelope(step.kind, step.data, step.head, inner=True) for step in operation.steps]
            for operation in batch
        ]
        envelope = self._envelope("batch", {"sequences": sequences}, None)
        reply = _reply_of(envelope, await self._channel.send(envelope), self._channel.name)
        if reply.status == 200:
            for operation, answers in zip(batch, reply.data["sequences"], strict=True):
                operation.answers += [Reply(answer["head"]["status"], answer["data"]) for answer in answers]
            return True
        if reply.status in BUSY:
            for operation in batch:
                operation.answers.append(reply)
            return True
        if reply.status == 400:
            self.forget()
        if reply.status in (400, 413) and len(batch) == 1:
            await self._one_by_one(batch[0])
            return True
        if reply.status in (400, 413):
            for operation in batch:
                operation.alone = True  # find the offender, or learn that batch is gone
            return False
        for operation in batch:
            operation.answers.append(reply)
        return True

    def forget(self) -> None:
        """Ask the server again what it can do: it refused something it had announced (D9)."""
        self.facts = None

    def _envelope(
        self, kind: str, data: dict[str, Any], head: dict[str, Any] | None, *, inner: bool = False
    ) -> Envelope:
        self._next_corr_id += 1
        if self._head is not None and not inner:
            head = self._head if head is None else {**head, **self._head}
        return request_envelope(kind, str(self._next_corr_id), data, head)


def _reply_of(request: Envelope, answer: Envelope, name: str) -> Reply:
    head = answer["head"]
    status = head.get("status")
    if (answer.get("kind"), head.get("corrId")) == UNREAD and status in REFUSED_UNREAD:
        return Reply(status, answer.get("data"))
    if answer.get("kind") != request["kind"] or head.get("corrId") != request["head"]["corrId"]:
        raise TransportError(
            f"{name}: answered {answer.get('kind')!r} {head.get('corrId')!r} to "
            f"{request['kind']!r} {request['head']['corrId']!r}; is something between us mixing up answers?"
        )
    if type(status) is not int:
        raise TransportError(f"{name}: the answer to {request['kind']!r} has no status in its head")
    return Reply(status, answer.get("data"))
