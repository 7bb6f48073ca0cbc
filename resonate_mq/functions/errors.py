"""Errors a user of durable functions meets (features B7, D30, D33). Knows nothing of the wire or of workers.

Every error takes what it says as constructor arguments and keeps them in `args`, so that it pickles and travels.
"""

from typing import Any


class ResonateError(Exception):
    """Base of the errors this package raises at its users.

    Attributes:
        mesg: the sentence.
        code: number of the kind of error; store errors carry the server's code after the point (100.40400).
        details: whatever the server added, else None.
    """

    def __init__(self, mesg: str, code: float, details: Any = None) -> None:
        super().__init__(mesg, code, details)
        self.mesg = mesg
        self.code = code
        self.details = details

    def __str__(self) -> str:
        return f"[{self.code:09.5f}] {self.mesg}"


class ResonateStoreError(ResonateError):
    """The server refused a request; `code` is `100.<server code>`, for example 100.40400."""

    def __init__(self, mesg: str, code: int, details: Any = None) -> None:
        super().__init__(mesg, float(f"100.{code}"), details)
        self.args = (mesg, code, details)


class ResonateCanceledError(ResonateError):
    """The awaited promise was canceled."""

    def __init__(self, promise_id: str) -> None:
        super().__init__(f"Promise {promise_id} canceled", 200)
        self.args = (promise_id,)
        self.promise_id = promise_id


class ResonateTimedoutError(ResonateError):
    """The awaited promise was not settled before its deadline; `timeout` is that deadline in epoch seconds."""

    def __init__(self, promise_id: str, timeout: float) -> None:
        super().__init__(f"Promise {promise_id} timed out at {timeout:.3f}", 201)
        self.args = (promise_id, timeout)
        self.promise_id = promise_id
        self.timeout = timeout


class ResonateShutdownError(ResonateError):
    """This client was stopped while the call was waiting."""

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 300)
        self.args = (mesg,)


class NonDeterminismError(ResonateError):
    """On replay the code asked for another step than the one that is recorded (D11)."""

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 400)
        self.args = (mesg,)


class IdTakenError(ResonateError):
    """A generated step id already belongs to a promise of somebody else (D11)."""

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 401)
        self.args = (mesg,)


class EncodeError(ResonateError):
    """A value cannot be written as JSON; the sentence names its path, for example `args[0].items[3]` (D29)."""

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 410)
        self.args = (mesg,)


class DecodeError(ResonateError):
    """A stored value is not JSON, or does not fit the annotation it is read by (D29)."""

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 411)
        self.args = (mesg,)


class DeadlockError(ResonateError):
    """Every part of an execution waits for another part of it."""

    def __init__(self, mesg: str) -> None:
        super().__init__(mesg, 412)
        self.args = (mesg,)


class RemoteError(Exception):
    """A failure whose class does not exist in this process.

    Attributes:
        name: class name where it was raised.
        message: its text.
        stack: its traceback as text, or an empty string.
    """

    def __init__(self, name: str, message: str, stack: str = "") -> None:
        super().__init__(name, message, stack)
        self.name = name
        self.message = message
        self.stack = stack

    def __str__(self) -> str:
        return self.message


class ContextMisuseError(TypeError):
    """A context was used by another function than its own; trying again does not mend that."""


class Evicted(BaseException):
    """This body is being dropped from memory; it will be replayed elsewhere or later (D33)."""
