"""Public façade: the errors users catch (features B1, B7)."""

from resonate_mq.functions.errors import (
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
