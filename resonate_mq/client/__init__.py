"""The client: class Resonate, handles, promises and schedules from outside of durable functions."""

from resonate_mq.client.durable_promise import DurablePromise, DurablePromiseValue
from resonate_mq.client.function import Function
from resonate_mq.client.handle import Handle
from resonate_mq.client.resonate import Resonate
from resonate_mq.client.schedules import Schedule

__all__ = ["DurablePromise", "DurablePromiseValue", "Function", "Handle", "Resonate", "Schedule"]
