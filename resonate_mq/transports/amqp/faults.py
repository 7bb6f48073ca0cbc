"""What driver exceptions mean, in a sentence for people. The only place that reads the broker's error texts."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from aiormq import exceptions as driver
from aiormq.abc import AbstractChannel

from resonate_mq.transports.masking import mask_secrets
from resonate_mq.transports.port import TransportConfigError, TransportError

_DRIVER_ERRORS = (driver.AMQPError, OSError, TimeoutError, asyncio.InvalidStateError, RuntimeError, ValueError)
"""All that the driver raises when a connection or channel breaks under a call; RuntimeError is its 'closed'."""


def connection_error(error: BaseException, shown: str) -> TransportError:
    """Return why `shown` could not be connected."""
    text = _text(error)
    if isinstance(error, driver.ProbableAuthenticationError | driver.AuthenticationError) or "ACCESS_REFUSED" in text:
        return TransportConfigError(
            f"broker {shown} refuses the login: {text}; check user, password and the user's rights on the vhost"
        )
    if "NOT_ALLOWED" in text or "Connection.OpenOk" in text:  # the driver keeps the broker's own words from us here
        return TransportConfigError(
            f"broker {shown} refuses the vhost: it does not exist or this user has no rights on it; create it "
            "(rabbitmqctl add_vhost) or grant rights (rabbitmqctl set_permissions -p VHOST USER ...)"
        )
    if isinstance(error, ssl.SSLError):
        return TransportConfigError(
            f"broker {shown}: TLS failed: {text}; check the scheme amqps, port and certificates"
        )
    if isinstance(error, TimeoutError):
        return TransportError(f"broker {shown} accepts no AMQP connection in time: stopped, overloaded or unreachable")
    return TransportError(f"broker {shown} cannot be reached: {text}")


def closing_reason(closing: "asyncio.Future[Any]") -> str:
    """Return why a connection or channel of the driver ended, given its `closing`."""
    if not closing.done() or closing.cancelled():
        return "closed"
    error = closing.exception()
    return "closed" if error is None or isinstance(error, asyncio.CancelledError) else _text(error)


async def closed(channel: AbstractChannel, timeout_s: float) -> None:
    """Close a channel politely; what goes wrong with that does not matter any more."""
    if not channel.is_closed:
        with suppress(TransportError), translated("closing a channel"):
            async with asyncio.timeout(timeout_s):
                await channel.close()


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn driver errors into a TransportError that names `what` was being done.

    It also keeps cancellation apart. The driver fails calls on a connection that goes away with CancelledError: taken
    for a cancellation of ours, it would end the loop that made the call, silently. And it swallows a real one that
    comes together with an answer (`wait_for` before Python 3.12): the loop would never end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
    except asyncio.CancelledError as error:
        if task is None or task.cancelling() > before:
            raise
        raise TransportError(f"{what}: the connection was closed") from error
    except TransportError:
        raise
    except driver.ChannelAccessRefused as error:
        raise TransportConfigError(f"{what}: {_text(error)}; grant the right (rabbitmqctl set_permissions)") from error
    except _DRIVER_ERRORS as error:
        raise TransportError(f"{what}: {_text(error)}") from error


def _text(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = str(error) or ", ".join(str(part) for part in error.args) or type(error).__name__
    return mask_secrets(text)
