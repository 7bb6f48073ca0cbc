"""Declares what the transport needs on the broker, with the fewest arguments, and explains what does not fit.

Every declaration uses a channel of its own, because a refusal closes the channel.
"""

import re

from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed
from pamqp.common import FieldTable

from resonate_mq.transports.amqp.faults import closed, translated
from resonate_mq.transports.amqp.names import UNICAST_EXCHANGE
from resonate_mq.transports.port import TransportConfigError

REDECLARE_S = 1.0
"""A deleted queue is not declared again sooner: RabbitMQ 3.10 tells consumers of a quorum queue only a moment after its
deletion, and not at all if it exists again by then; they would then drop what the new queue delivers, silently."""

_FOUND = re.compile(r"received (?P<wanted>.+?) but current is (?P<found>.+?)\s*$", re.DOTALL)


async def declare_queue(connection: AbstractConnection, name: str, queue_type: str, timeout_s: float) -> None:
    """Make sure that the durable queue `name` exists and is what we expect.

    A queue that exists and that we may not declare is taken as it is: its operator made it.

    Raises:
        TransportConfigError: it is of another kind, or missing and we may not create it.
        TransportError: the broker did not answer.
    """
    with translated(f"queue '{name}' cannot be declared"):
        exists = await _exists(connection, name, timeout_s)
        channel = await connection.channel(publisher_confirms=False, timeout=timeout_s)
        try:
            arguments: FieldTable = {"x-queue-type": queue_type}
            await channel.queue_declare(name, durable=True, arguments=arguments, timeout=timeout_s)
        except ChannelPreconditionFailed as error:
            raise TransportConfigError(_mismatch(name, queue_type, str(error))) from error
        except ChannelAccessRefused as error:
            if not exists:
                raise TransportConfigError(
                    f"queue '{name}' does not exist and this user may not create it ({error}); grant configure on it "
                    f"(rabbitmqctl set_permissions), or create it as a durable {queue_type} queue"
                ) from error
        finally:
            await closed(channel, timeout_s)


async def declare_unicast(channel: AbstractChannel, timeout_s: float) -> None:
    """Make sure that the exchange for single processes exists; a refusal closes the channel."""
    with translated(f"exchange '{UNICAST_EXCHANGE}' cannot be declared as a durable direct exchange"):
        await channel.exchange_declare(UNICAST_EXCHANGE, exchange_type="direct", durable=True, timeout=timeout_s)


async def _exists(connection: AbstractConnection, name: str, timeout_s: float) -> bool:
    channel = await connection.channel(publisher_confirms=False, timeout=timeout_s)
    try:
        await channel.queue_declare(name, passive=True, timeout=timeout_s)
    except ChannelNotFoundEntity:
        return False
    finally:
        await closed(channel, timeout_s)
    return True


def _mismatch(name: str, queue_type: str, text: str) -> str:
    match = _FOUND.search(text)
    found = f"{match['found']} (we declare {match['wanted']})" if match else text
    return (
        f"queue '{name}' exists but is not a durable {queue_type} queue without further arguments: found {found}. "
        f"Drain and delete it (rabbitmqctl delete_queue '{name}') so that it is declared anew, or, when only the type "
        "differs, add ?queue_type=classic (or quorum) to the transport's URL; set everything else by a policy"
    )
