"""One call or sequence on its way: what is still to be answered, and what each answer means for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, get_args

from resonate_mq.protocol import requests as r
from resonate_mq.protocol.envelope import Reply
from resonate_mq.transports.api.adapt import NONE, Step, refused_locally, steps_of
from resonate_mq.transports.port import TransportError

_BATCHABLE = frozenset(one for one in get_args(r.Request) if not one.kind.startswith("debug."))
NEVER_SENT = "it was never sent"
BUSY = (429, 503)  # the server asks to try again (D15)


class Operation:
    """A sequence of one or more requests and the future of its replies.

    Attributes:
        requests: as given; none at all asks only what the server can do.
        deadline: loop time after which nobody waits any more.
        future: gets the replies.
        replies: of the requests answered so far.
        steps: on the wire, of the requests not answered yet.
        answers: to `steps`, as they come.
        attempts: answers 503 or 429 in a row.
        ambiguous: some attempt got no answer and may have been executed.
        plain: go on without extensions: the server refused one.
        alone: share a batch with no other operation: it is suspected of spoiling it.
        solo: travel in no batch at all: debug.* is refused in one, and a head would be lost.
    """

    __slots__ = (
        "alone",
        "ambiguous",
        "answers",
        "attempts",
        "deadline",
        "future",
        "head",
        "last_error",
        "plain",
        "replies",
        "requests",
        "solo",
        "steps",
    )

    def __init__(
        self,
        requests: tuple[r.Request, ...],
        head: dict[str, Any] | None,
        deadline: float,
        future: asyncio.Future[list[Reply]],
    ) -> None:
        self.requests = requests
        self.head = head
        self.deadline = deadline
        self.future = future
        self.replies: list[Reply] = []
        self.steps: list[Step] = []
        self.answers: list[Reply] = []
        self.attempts = 0
        self.ambiguous = False
        self.plain = False
        self.solo = head is not None or not _BATCHABLE.issuperset(map(type, requests))
        self.alone = self.solo
        self.last_error = NEVER_SENT

    def answer_locally(self, capabilities: frozenset[str]) -> bool:
        """Prepare the steps for a server with these capabilities; True when nothing is left to send."""
        if self.future.done():
            return True
        if self.plain:
            capabilities = NONE
        rest = self.requests[len(self.replies) :]
        refused = refused_locally(rest[0], capabilities) if rest else None
        if refused is not None:
            self.replies.append(refused)
        if refused is not None or not rest:
            self.future.set_result(self.replies)
            return True
        self.answers = []
        if len(rest) == 1:
            self.steps = steps_of(rest[0], capabilities, self.head)
        else:
            self.steps = []
            for request in rest:
                if refused_locally(request, capabilities) is not None:
                    break  # answered here when those before it have been answered there
                self.steps += steps_of(request, capabilities, self.head)
        if self.last_error is NEVER_SENT:
            self.last_error = "it was sent, and the line is silent"
        return False

    def settle(self, forget_facts: Callable[[], None]) -> bool:
        """Take in the answers; False when it must be sent again (from the first unanswered request)."""
        if self.future.done():
            return True
        for step, answer in zip(self.steps, self.answers, strict=False):
            if answer.status in BUSY:
                self.attempts += 1
                self.last_error = f"the server answered {answer.status}: {answer.data}"
                return False
            if answer.status == 400 and step.extended and not self.plain:
                forget_facts()
                self.plain = True
                return False
            self.attempts = 0
            if step.last or not answer.ok:
                self.replies.append(answer)
            if not answer.ok:
                self.future.set_result(self.replies)
                return True
        if len(self.replies) == len(self.requests):
            self.future.set_result(self.replies)
            return True
        return False

    def unanswered(self, reason: str) -> None:
        """Note that an attempt may or may not have been executed."""
        self.ambiguous = True
        self.last_error = reason

    def expire(self, server: str) -> None:
        """Give up: a busy server's last answer stands, else nobody answered."""
        if self.future.done():
            return
        if self.answers and self.answers[-1].status in BUSY:
            self.future.set_result([*self.replies, self.answers[-1]])
            return
        kind = self.requests[len(self.replies)].kind if len(self.replies) < len(self.requests) else "server.info"
        self.fail(TransportError(f"{server}: no answer to {kind} before its deadline; {self.last_error}"))

    def refuse(self, reason: str) -> None:
        """Answer 400: it cannot even be encoded (a lone surrogate, for example)."""
        if not self.future.done():
            self.future.set_result([*self.replies, Reply(400, reason)])

    def fail(self, error: BaseException) -> None:
        """End it without an answer."""
        if not self.future.done():
            self.future.set_exception(error)
