"""What stands where HTTP pushes go: a gateway that hands each POST to a function of the group with room, or refuses.

The answer waits for the end of the delivery, as a function's does for the end of its work.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from resonate_mq.protocol.errors import InvalidRequestError
from resonate_mq.protocol.messages import Message, decode_message
from resonate_mq.transports.port import Consumer, DeadLetter, Guarantees, Subscription
from resonate_mq.transports.push import HttpPush

NO_ROOM, NOBODY, GONE = (503, "no room"), (404, "nobody listens at"), (503, "the function went away")


class PushGateway:
    """An HTTP server in front of all functions."""

    def __init__(self) -> None:
        self.port = 0
        self.dead_letters: deque[DeadLetter] = deque()
        self.functions: list[PushFunction] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[PushGateway]:
        application = web.Application(client_max_size=2**26)
        application.router.add_post("/{cast}/{rest:.*}", self._take)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        path = request.rel_url.raw_path
        there = [function for function in self.functions if path in (function.anycast_path, function.unicast_path)]
        free = [function for function in there if path == function.unicast_path or function.free > 0]
        if not free:
            status, text = NO_ROOM if there else NOBODY
            return web.Response(status=status, text=f"{text} {path}")
        payload = await request.read()
        try:
            message = decode_message(payload)
        except InvalidRequestError as error:
            self.dead_letters.append(DeadLetter(path, payload, error.message))
            return web.Response(text="set aside")
        status, text = await random.choice(free).call(message, payload, path)
        return web.Response(status=status, text=text)


class PushFunction:
    """The consuming half as a test sees it: a subscription is a function that is called."""

    guarantees: Guarantees = HttpPush.guarantees
    name = "http"

    def __init__(self, gateway: PushGateway) -> None:
        self.gateway = gateway
        self._open = False
        self._credits = 0
        self._answers: dict[asyncio.Future[tuple[int, str]], bool] = {}
        self._subscription: Subscription
        self.anycast_path = self.unicast_path = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[PushFunction]:
        self._open = True
        try:
            yield self
        finally:
            self._open = False

    def healthy(self) -> tuple[bool, str]:
        return (True, "") if self._open else (False, "not open")

    def unicast(self, group: str, pid: str) -> str:
        return push_url(self.gateway.port, "uni", group, pid)

    @asynccontextmanager
    async def subscribe(self, subscription: Subscription) -> AsyncIterator[Consumer]:
        self._subscription = subscription
        self._credits = subscription.credits
        self.anycast_path = push_path("any", subscription.group, None)
        self.unicast_path = push_path("uni", subscription.group, subscription.pid)
        self.gateway.functions.append(self)
        subscription.on_state(True, "")
        try:
            yield self
        finally:
            self.gateway.functions.remove(self)
            for answer in list(self._answers):
                if not answer.done():
                    answer.set_result(GONE)

    async def pause(self) -> None:
        self._credits = 0

    async def resume(self, credits: int) -> None:
        self._credits = credits

    @property
    def free(self) -> int:
        return self._credits - sum(self._answers.values())

    async def call(self, message: Message, payload: bytes, path: str) -> tuple[int, str]:
        answer: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._answers[answer] = path == self.anycast_path
        try:
            self._subscription.on_delivery(PushDelivery(self.gateway, message, payload, path, answer))
            return await answer
        finally:
            del self._answers[answer]


class PushDelivery:
    def __init__(
        self,
        gateway: PushGateway,
        message: Message,
        payload: bytes,
        path: str,
        answer: asyncio.Future[tuple[int, str]],
    ) -> None:
        self.message = message
        self._gateway = gateway
        self._payload = payload
        self._path = path
        self._answer = answer

    def ack(self) -> None:
        self._end((200, "done"))

    def give_back(self) -> None:
        self._end(NO_ROOM)

    def reject(self, reason: str) -> None:
        if not self._answer.done():
            self._gateway.dead_letters.append(DeadLetter(self._path, self._payload, reason))
        self._end((200, "set aside"))

    def _end(self, answer: tuple[int, str]) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)


def push_path(cast: str, group: str, pid: str | None) -> str:
    """The path of a group or process; hexadecimal keeps every name apart."""
    path = f"/{cast}/{group.encode().hex()}"
    return path if pid is None else f"{path}/{pid.encode().hex()}"


def push_url(port: int, cast: str, group: str, pid: str | None) -> str:
    return f"http://127.0.0.1:{port}{push_path(cast, group, pid)}?{cast}={_readable(group)}&pid={_readable(pid or '')}"


def _readable(name: str) -> str:
    return "".join(character if character.isalnum() and character.isascii() else "-" for character in name)[:40]
