"""`resonate-mq invoke`: start a function of a worker group from the command line."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resonate_mq.cli import values
from resonate_mq.cli.connection import DEFAULT_SERVER, ServerOption, Session, TokenOption, with_server
from resonate_mq.cli.output import CliError, JsonOption, note, show_json

if TYPE_CHECKING:
    from resonate_mq.protocol.records import Value


def invoke(
    promise_id: Annotated[str, typer.Argument(help="Id of the call; the same id never runs twice.", metavar="ID")],
    func: Annotated[str, typer.Option(help="Registered name of the function.")],
    arg: Annotated[
        list[str] | None, typer.Option(metavar="JSON", help="An argument; what is no JSON is a string. Repeatable.")
    ] = None,
    target: Annotated[str, typer.Option(help="Worker group or address, for example poll://any@emails.")] = "default",
    timeout: Annotated[str, typer.Option(help="How long it may take, for example 1h.")] = "1d",
    delay: Annotated[str | None, typer.Option(help="Start it this much later, for example 30s.")] = None,
    version: Annotated[int, typer.Option(min=1, help="Version of the function.")] = 1,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result and print it as JSON.")] = False,
    json_: JsonOption = False,
    server: ServerOption = DEFAULT_SERVER,
    token: TokenOption = None,
) -> None:
    """Start a function; print its promise, or with --wait its result."""
    timeout_s = values.seconds(timeout, "--timeout")
    delay_s = None if delay is None else values.seconds(delay, "--delay")

    async def run(session: Session) -> dict[str, Any]:
        from resonate_mq.protocol.requests import PromiseCreate

        now_ms = int(time.time() * 1000)
        tags = call_tags(promise_id, func, await address_of(session, target))
        if delay_s is not None:
            tags["resonate:delay"] = str(now_ms + round(delay_s * 1000))
        timeout_at = now_ms + round((timeout_s + (delay_s or 0)) * 1000)
        request = PromiseCreate(promise_id, timeout_at, call_param(func, arg or (), version), tags)
        record: dict[str, Any] = (await session.ask(request))["promise"]
        if record["param"] != request.param.wire():
            note(f"{promise_id!r} existed before, with another call; nothing new was started")
        if wait and record["state"] == "pending":
            from resonate_mq.cli.waiting import settlement

            record = await settlement(session, promise_id)
        return record

    record = with_server(server, token, run)
    if not wait:
        show_json(values.readable(record, "param", "value"), compact=json_)
        return
    if record["state"] != "resolved":
        raise CliError(_failure(record))
    show_json(values.json_of(record["value"]), compact=json_)


def call_tags(promise_id: str, func: str, address: str) -> dict[str, str]:
    """Return the tags of a call that nothing else has started: it is its own origin (protocol section 6.2)."""
    from resonate_mq.protocol import tags as names

    own = (names.BRANCH, names.PARENT, names.ORIGIN, names.PREFIX)
    return {
        names.SCOPE: "global",
        names.TARGET: address,
        **dict.fromkeys(own, promise_id),
        names.KIND: "rpc",
        names.FUNC: func,
    }


def call_param(func: str, arguments: Sequence[str], version: int) -> "Value":
    """Return the param of a call whose arguments were typed."""
    from resonate_mq.functions.codec import Codec
    from resonate_mq.functions.errors import EncodeError
    from resonate_mq.functions.invocation import encode_invocation

    try:
        return encode_invocation(Codec(), func, [values.argument(one) for one in arguments], {}, version)
    except EncodeError as error:
        raise CliError(str(error), 2) from error


async def address_of(session: Session, target: str) -> str:
    """Return the address of a target: a bare group is reached over the server's default transport (D35)."""
    from resonate_mq.protocol.addresses import format_address
    from resonate_mq.transports.port import TransportError

    if "://" in target:
        return target
    try:
        facts = await session.requester.facts(deadline_s=5.0)
    except TransportError as error:
        from resonate_mq.cli.connection import unreachable

        raise unreachable(session.url, error) from error
    return format_address(facts.default_transport, "any", target)


def _failure(record: dict[str, Any]) -> str:
    value = values.json_of(record["value"])
    if isinstance(value, dict) and "message" in value:
        reason = f"{value.get('name', 'error')}: {value['message']}"
    else:
        reason = "" if value is None else str(value)
    return f"{record['id']} was {record['state']}" + (f": {reason}" if reason else "")
