"""From a context call to the promise that stands for it: id, tags, deadline, param (protocol section 6.2, D10, D11)."""

from typing import Any

from resonate_mq.functions.codec import Codec, CustomCodec
from resonate_mq.functions.commands import DETACHED, PROMISE, RPC, SLEEP, Command
from resonate_mq.functions.invocation import encode_invocation
from resonate_mq.functions.options import DEFAULT_TIMEOUT_S
from resonate_mq.functions.registry import Registered
from resonate_mq.functions.signatures import UNTYPED, result_of
from resonate_mq.protocol import tags
from resonate_mq.protocol.limits import MAX_SAFE_INTEGER
from resonate_mq.protocol.records import EMPTY, Value
from resonate_mq.protocol.requests import PromiseCreate
from resonate_mq.worker.execution.environment import Environment


class Lineage:
    """The ids an execution's promises point at, from its root promise (protocol section 6.2)."""

    __slots__ = ("branch", "origin", "prefix", "root_id")

    def __init__(self, promise: dict[str, Any]) -> None:
        found = promise["tags"]
        self.root_id: str = promise["id"]
        self.branch: str = found.get(tags.BRANCH) or self.root_id
        self.origin: str = found.get(tags.ORIGIN) or self.root_id
        self.prefix: str = found.get(tags.PREFIX) or self.root_id


def codec_of(command: Command[Any], environment: Environment) -> Codec:
    """Return the codec of a call's values: its option `encoder`, else the worker's."""
    encoder = command.opts.encoder
    return environment.codec if encoder is None else CustomCodec(encoder)


def draft_local(
    command: Command[Any], parent: str, deadline_ms: int, lineage: Lineage, environment: Environment
) -> PromiseCreate:
    """Return the promise of a ctx.run child; its deadline lies within its parent's."""
    timeout_s = command.opts.timeout
    if timeout_s is None:
        entry = entry_of(command, environment)
        timeout_s = DEFAULT_TIMEOUT_S if entry is None or entry.timeout_s is None else entry.timeout_s
    timeout_at = min(environment.now_ms() + _ms(timeout_s), deadline_ms)
    found = {
        tags.SCOPE: "local",
        tags.BRANCH: lineage.branch,
        tags.PARENT: parent,
        tags.ORIGIN: lineage.origin,
        tags.PREFIX: lineage.prefix,
        tags.KIND: command.kind,
        tags.FUNC: command.label,
    }
    if command.opts.tags:
        found = {**command.opts.tags, **found}
    return PromiseCreate(command.id, timeout_at, EMPTY, found)


def draft_remote(
    command: Command[Any], parent: str, deadline_ms: int, lineage: Lineage, environment: Environment
) -> PromiseCreate:
    """Return the promise of an rpc, detached, promise or sleep.

    Raises:
        TypeError: the arguments do not bind to the callee's parameters.
        EncodeError: an argument has no JSON form.
        ValueError: the callee or its version is not registered, or the target cannot be served.
    """
    kind, promise_id, now_ms = command.kind, command.id, environment.now_ms()
    found = dict(command.opts.tags or ())
    if kind == SLEEP:
        found = {tags.TIMER: "true"}
        timeout_at = min(now_ms + _ms(command.args[0]), deadline_ms)
    else:
        timeout_s = command.opts.timeout
        if timeout_s is None or (kind == PROMISE and timeout_s == 0):
            timeout_s = _registered_timeout(command, environment)
        timeout_at = now_ms + _ms(timeout_s)
        timeout_at = min(timeout_at, MAX_SAFE_INTEGER if kind == DETACHED else deadline_ms)
    found |= {
        tags.SCOPE: "global",
        tags.BRANCH: promise_id,
        tags.PARENT: parent,
        tags.ORIGIN: promise_id if kind == DETACHED else lineage.origin,
        tags.PREFIX: lineage.prefix,
        tags.KIND: kind,
    }
    param = EMPTY
    if kind in (RPC, DETACHED):
        found[tags.FUNC] = command.label
        param = _call(command, environment, found)
    elif kind == PROMISE and command.args:
        param = codec_of(command, environment).encode(command.args[0], "data")
    return PromiseCreate(promise_id, timeout_at, param, found)


def entry_of(command: Command[Any], environment: Environment) -> Registered | None:
    """Return what is registered of a function called by ctx.run, None where it is not (it need not be)."""
    return None if command.func is None or command.inline else environment.registry.entry_of(command.func)


def callee_of(command: Command[Any], environment: Environment) -> Registered | None:
    """Return the registered function an rpc means, None where only the other side knows it.

    Raises:
        ValueError: a function object whose wanted version is not registered here.
    """
    version = command.opts.version or 0
    if command.func is not None:
        return environment.registry.get(command.func, version)
    return environment.registry.find(command.label, version)


def annotation_of(command: Command[Any], environment: Environment) -> Any:
    """Return the annotation the value of a call is restored by."""
    if command.inline or command.kind in (PROMISE, SLEEP):
        return UNTYPED
    if command.local:
        assert command.func is not None
        return result_of(command.func)
    callee = callee_of(command, environment)
    return UNTYPED if callee is None else callee.signature.result


def _call(command: Command[Any], environment: Environment, found: dict[str, str]) -> Value:
    callee = callee_of(command, environment)
    version = callee.version if callee is not None else command.opts.version or 1
    target = environment.resolve_target(command.opts.target)
    if environment.check_callee is not None:
        environment.check_callee(command.label, version, target)
    found[tags.TARGET] = target
    signature = None if callee is None else callee.signature
    # a remote callee runs with the default codec whatever this call's values are read by
    return encode_invocation(environment.codec, command.label, command.args, command.kwargs, version, signature)


def _registered_timeout(command: Command[Any], environment: Environment) -> float:
    callee = None if command.kind == PROMISE else callee_of(command, environment)
    return DEFAULT_TIMEOUT_S if callee is None or callee.timeout_s is None else callee.timeout_s


def _ms(seconds: float) -> int:
    return min(round(seconds * 1000), MAX_SAFE_INTEGER) if seconds < 1e13 else MAX_SAFE_INTEGER
