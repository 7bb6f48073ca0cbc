"""The window of one publishing channel: what was sent, and what the broker said about it.

Messages are written in batches below the driver's `basic_publish`, because a coroutine and two futures per message
would cost more than the message. The driver still reads the confirms: it resolves what lies in
`channel.confirmations` by delivery tag, and `_Pending` behaves like the future it expects there.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import pamqp.frame
from aiormq.abc import AbstractChannel, ChannelFrame
from aiormq.exceptions import PublishError
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from resonate_mq.transports.amqp.faults import translated
from resonate_mq.transports.port import TransportError

MAX_WINDOW_BYTES = 32 * 1024 * 1024  # bodies sent and not confirmed: settled records can be large
END_OF_FRAME_BYTES = 8  # a frame's header and end mark

Reported = Callable[[bool, str, bool], None]
"""Called once with (confirmed, reason, was returned as unroutable)."""


class Letter(NamedTuple):
    """One message as it goes on the wire."""

    exchange: str
    routing_key: str
    body: bytes
    properties: commands.Basic.Properties


class ConfirmWindow:
    """Sends on one channel with publisher confirms, at most `size` messages unconfirmed.

    Args:
        channel: opened with publisher confirms; nobody else may publish on it.
        size: messages.
        confirm_s: seconds after which an unconfirmed message is reported as failed.
    """

    def __init__(self, channel: AbstractChannel, size: int, confirm_s: float) -> None:
        self.closed_because = ""
        self._channel: Any = channel  # its book-keeping attributes are not in the abstract type
        self._size = size
        self._confirm_s = confirm_s
        self._pending: dict[int, _Pending] = {}
        self._bytes = 0
        self._outbox: list[bytes] = []
        self._writing = False
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()
        self._expiry: asyncio.TimerHandle | None = None
        self._publish_frames: dict[tuple[str, str], bytes] = {}
        self._body_bytes = channel.connection.connection_tune.frame_max - END_OF_FRAME_BYTES

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def is_full(self) -> bool:
        """Whether the next message has to wait."""
        return len(self._pending) >= self._size or self._bytes >= MAX_WINDOW_BYTES

    async def room(self) -> None:
        """Wait until another message may be sent.

        Raises:
            TransportError: the channel went away meanwhile.
        """
        while not self.closed_because:
            if not self.is_full:
                return
            self._room.clear()
            await self._room.wait()
        raise TransportError(self.closed_because)

    def send(self, letter: Letter, reported: Reported) -> None:
        """Queue one message; `flush` writes what is queued."""
        if self.closed_because:
            reported(False, self.closed_because, False)
            return
        channel = self._channel
        message_id = letter.properties.message_id
        if not message_id or message_id in channel.message_id_delivery_tag:
            # the driver finds the owner of a returned message by this id alone
            letter.properties.message_id = message_id = f"{message_id or ''}#{channel.delivery_tag + 1}"
        frames = self._frames(letter)
        channel.delivery_tag = tag = channel.delivery_tag + 1
        deadline_s = asyncio.get_running_loop().time() + self._confirm_s
        pending = _Pending(self, tag, message_id, len(letter.body), deadline_s, reported)
        self._bytes += len(letter.body)
        channel.confirmations[tag] = pending
        channel.message_id_delivery_tag[message_id] = tag
        self._pending[tag] = pending
        self._outbox += frames
        if self._expiry is None:
            self._expire_later(pending.deadline_s)

    async def flush(self) -> None:
        """Write what is queued. Returns early when another caller is writing: it takes ours along.

        Raises:
            TransportError: the channel broke; what was queued is or will be reported as failed.
        """
        if self._writing:
            return
        self._writing = True
        try:
            while self._outbox and not self.closed_because:
                payload, self._outbox = b"".join(self._outbox), []
                written = self._channel.create_future()  # fails when the channel closes
                with translated("messages cannot be written"):
                    await self._channel.write_queue.put(ChannelFrame(payload, False, written))
                    await written
        finally:
            self._writing = False

    async def drained(self) -> None:
        """Wait until every message is reported."""
        while self._pending and not self.closed_because:
            self._room.clear()
            await self._room.wait()

    def close(self, reason: str) -> None:
        """The channel is gone: nothing more is confirmed."""
        if self.closed_because:
            return
        self.closed_because = reason
        if self._expiry is not None:
            self._expiry.cancel()
        for pending in list(self._pending.values()):
            pending.finish(False, reason)
        self._room.set()

    def finished(self, pending: "_Pending") -> None:
        """A message was reported."""
        self._pending.pop(pending.tag, None)
        self._bytes -= pending.size
        tags = self._channel.message_id_delivery_tag
        if tags.get(pending.message_id) == pending.tag:
            del tags[pending.message_id]
        self._room.set()

    def _frames(self, letter: Letter) -> list[bytes]:
        number = self._channel.number
        key = (letter.exchange, letter.routing_key)
        publish = self._publish_frames.get(key)
        if publish is None:
            if len(self._publish_frames) > 10_000:
                self._publish_frames.clear()
            frame = commands.Basic.Publish(exchange=letter.exchange, routing_key=letter.routing_key, mandatory=True)
            publish = self._publish_frames[key] = pamqp.frame.marshal(frame, number)
        body, size = letter.body, self._body_bytes
        frames = [publish, pamqp.frame.marshal(ContentHeader(0, len(body), letter.properties), number)]
        for start in range(0, len(body), size):
            frames.append(pamqp.frame.marshal(ContentBody(body[start : start + size]), number))
        return frames

    def _expire_later(self, deadline_s: float) -> None:
        self._expiry = asyncio.get_running_loop().call_at(deadline_s, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        now = asyncio.get_running_loop().time()
        for pending in list(self._pending.values()):
            if pending.deadline_s > now:
                self._expire_later(pending.deadline_s)
                return
            pending.finish(False, f"the broker did not confirm within {self._confirm_s:g} s")


class _Pending:
    """Stands in `channel.confirmations` for the future the driver expects."""

    __slots__ = ("_done", "_reported", "_window", "deadline_s", "message_id", "size", "tag")

    def __init__(
        self, window: ConfirmWindow, tag: int, message_id: str, size: int, deadline_s: float, reported: Reported
    ) -> None:
        self.size = size
        self.tag = tag
        self.message_id = message_id
        self.deadline_s = deadline_s
        self._window = window
        self._reported = reported
        self._done = False

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._done

    def set_result(self, _frame: object) -> None:
        self.finish(True, "")

    def set_exception(self, error: BaseException) -> None:
        returned = isinstance(error, PublishError)
        self.finish(False, "no queue takes it" if returned else f"the broker refused it: {error}", returned=returned)

    def finish(self, confirmed: bool, reason: str, *, returned: bool = False) -> None:
        if not self._done:
            self._done = True
            self._window.finished(self)
            self._reported(confirmed, reason, returned)
