"""Wait for a promise from the command line: listen over the server's stream, never ask in a loop."""

import secrets
from typing import Any

from resonate_mq.cli.connection import Session, refused, unreachable
from resonate_mq.protocol.messages import Unblock
from resonate_mq.transports.poll.client import PollTransport
from resonate_mq.transports.port import Delivery, Subscription, TransportError
from resonate_mq.worker.listeners import ListenError, Listeners

GROUP = "resonate-mq-cli"


async def settlement(session: Session, promise_id: str) -> dict[str, Any]:
    """Return the settled record of a promise, however long that takes.

    Raises:
        CliError: there is no such promise, or the server cannot be reached.
    """
    transport = PollTransport("poll", session.url, session.token)
    pid = secrets.token_hex(8)
    listeners = Listeners(session.requester, transport.unicast(GROUP, pid))

    def on_delivery(delivery: Delivery) -> None:
        message = delivery.message
        if isinstance(message, Unblock):
            for record in message.promises:
                listeners.observe(record)
        delivery.ack()

    def on_state(connected: bool, _reason: str) -> None:
        if connected:
            listeners.reconnected()

    subscription = Subscription(group=GROUP, pid=pid, credits=0, on_delivery=on_delivery, on_state=on_state)
    async with transport.open(), listeners.open(), transport.subscribe(subscription):
        try:
            return await listeners.settled(promise_id)
        except ListenError as error:
            raise refused(error.status, error.reason, session.token) from error
        except TransportError as error:
            raise unreachable(session.url, error) from error
