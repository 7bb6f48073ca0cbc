"""The param of a durable call: `{func, args, kwargs?, version}` (D29, protocol section 6.3)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from resonate_mq.functions.annotated import restore
from resonate_mq.functions.codec import Codec
from resonate_mq.functions.errors import DecodeError, EncodeError
from resonate_mq.functions.jsonable import to_jsonable
from resonate_mq.functions.signatures import Signature
from resonate_mq.protocol.records import Value


class Invocation(NamedTuple):
    """A decoded param; `args` and `kwargs` are JSON builtins still."""

    func: str
    args: list[Any]
    kwargs: dict[str, Any]
    version: int


def encode_invocation(
    codec: Codec,
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    version: int,
    signature: Signature | None = None,
) -> Value:
    """Return the param of a call.

    Args:
        name: registered name of the callee.
        version: >= 1; version 0 is resolved by the caller before.
        signature: the callee's where it is known here: keywords are folded into positions (D29).

    Raises:
        TypeError: the arguments do not bind.
        EncodeError: names the path, for example `args[0].items[3]`.
    """
    positions, keywords = (list(args), dict(kwargs)) if signature is None else signature.fold(args, kwargs)
    body: dict[str, Any] = {"func": name, "args": positions, "version": version}
    if keywords:
        body["kwargs"] = keywords
    try:
        return codec.encode(body, "call")
    except EncodeError:
        # again, with the path people know their arguments by
        for index, item in enumerate(args):
            to_jsonable(item, f"args[{index}]")
        for key, item in kwargs.items():
            to_jsonable(item, f"kwargs[{key!r}]" if not key.isidentifier() else f"kwargs.{key}")
        raise


def decode_invocation(codec: Codec, param: dict[str, Any] | None) -> Invocation:
    """Return the call of a promise's param.

    Raises:
        DecodeError: it is not the param of a call; says what was found.
    """
    body = codec.decode(param, path="param")
    if not isinstance(body, dict) or not isinstance(body.get("func"), str):
        raise DecodeError(f"param: expected an object with 'func', 'args' and 'version', found {str(body)[:80]}")
    args, kwargs, version = body.get("args", []), body.get("kwargs") or {}, body.get("version", 1)
    if not isinstance(args, list):
        raise DecodeError(f"param.args: expected an array, found {type(args).__name__}")
    if not isinstance(kwargs, dict):
        raise DecodeError(f"param.kwargs: expected an object, found {type(kwargs).__name__}")
    if isinstance(version, float) and version.is_integer():
        version = int(version)  # another language's numbers
    if type(version) is not int or version < 0:
        raise DecodeError(f"param.version: expected an integer >= 1, found {version!r}")
    return Invocation(body["func"], args, kwargs, version or 1)


def bind(call: Invocation, signature: Signature) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of a call restored by the callee's annotations.

    Raises:
        TypeError: they do not bind to its parameters.
        DecodeError: one does not fit its annotation.
    """
    hints, keyword_hints = signature.annotations_of(call.args, call.kwargs)
    args = [
        restore(item, hint, f"args[{index}]") for index, (item, hint) in enumerate(zip(call.args, hints, strict=True))
    ]
    kwargs = {key: restore(item, keyword_hints[key], f"kwargs.{key}") for key, item in call.kwargs.items()}
    return args, kwargs
