"""AMQP 0-9-1 (RabbitMQ): a durable quorum queue per group, confirms, unicast, dead letters."""

from resonate_mq.transports.amqp.options import AmqpOptions
from resonate_mq.transports.amqp.transport import AmqpTransport

__all__ = ["AmqpOptions", "AmqpTransport"]
