"""Public façade: retry policies, delays in seconds (features B1, B8)."""

from resonate_mq.functions.retry import Constant, Exponential, Linear, Never, RetryPolicy

__all__ = ["Constant", "Exponential", "Linear", "Never", "RetryPolicy"]
