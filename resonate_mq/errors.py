"""Public façade: the errors users catch (features B1, B7)."""

from resonate_mq.functions.errors import (
    ContextMisuseError,
    DeadlockError,
    DecodeError,
    EncodeError,
    Evicted,
    IdTakenError,
    NonDeterminismError,
    RemoteError,
    ResonateCanceledError,
    ResonateError,
    ResonateShutdownError,
    ResonateStoreError,
    ResonateTimedoutError,
)

__all__ = [
    "ContextMisuseError",
    "DeadlockError",
    "DecodeError",
    "EncodeError",
    "Evicted",
    "IdTakenError",
    "NonDeterminismError",
    "RemoteError",
    "ResonateCanceledError",
    "ResonateError",
    "ResonateShutdownError",
    "ResonateStoreError",
    "ResonateTimedoutError",
]
