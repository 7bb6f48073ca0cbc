"""Ends the deliveries of one consuming channel: acks are cumulative where they can be, one write a turn of the loop."""

import asyncio
from typing import Any

import pamqp.frame
from aiormq.abc import AbstractChannel, ChannelFrame
from pamqp import commands

from resonate_mq.transports.amqp.faults import translated


class AckBook:
    """Knows which deliveries are open, and tells the broker about those that ended."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel: Any = channel
        self._open: dict[int, None] = {}
        self._acked: set[int] = set()
        self._returned: list[int] = []
        self._wake = asyncio.Event()
        self.closed = False

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, tag: int) -> None:
        """A delivery arrived."""
        self._open[tag] = None

    def ack(self, tag: int) -> None:
        """Take it off the broker's books on the next turn."""
        if not self.closed:
            self._acked.add(tag)
            self._wake.set()

    def give_back(self, tag: int) -> None:
        """Put it back into the queue on the next turn."""
        if not self.closed:
            self._returned.append(tag)
            self._wake.set()

    async def run(self) -> None:
        """Write what ended until cancelled.

        Raises:
            TransportError: the channel broke; the broker delivers everything again that is open.
        """
        while True:
            await self._wake.wait()
            await self.flush()

    async def flush(self) -> None:
        """Write what has ended so far."""
        self._wake.clear()
        payload = self._frames()
        if payload:
            with translated("acknowledgements cannot be written"):
                await self._channel.write_queue.put(ChannelFrame(payload, False))

    def _frames(self) -> bytes:
        number = self._channel.number
        frames: list[bytes] = []
        returned, self._returned = self._returned, []
        for tag in returned:
            del self._open[tag]
            frames.append(pamqp.frame.marshal(commands.Basic.Nack(delivery_tag=tag, requeue=True), number))
        acked, self._acked = self._acked, set()
        covered: list[int] = []
        for tag in self._open:
            if tag not in acked:
                break
            covered.append(tag)
        if covered:
            for tag in covered:
                del self._open[tag]
            acked.difference_update(covered)
            frames.append(pamqp.frame.marshal(commands.Basic.Ack(delivery_tag=covered[-1], multiple=True), number))
        for tag in acked:
            del self._open[tag]
            frames.append(pamqp.frame.marshal(commands.Basic.Ack(delivery_tag=tag), number))
        return b"".join(frames)
