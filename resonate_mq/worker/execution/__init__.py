"""Runs one acquired task: drives its body step by step over a `Session`. Knows no transport and no other task.

execution = Execution(session, environment)
outcome = await execution.run()
# Fulfilled | Suspended: done on the server already; Released: send task.release; Lost: send nothing
# Suspended(resident=True): after the next acquire answered version + 1,
outcome = await execution.resume(version, records)      # or execution.drop()
"""

from resonate_mq.worker.execution.environment import Environment
from resonate_mq.worker.execution.execution import Execution
from resonate_mq.worker.execution.outcomes import Fulfilled, Lost, Outcome, Released, Suspended
from resonate_mq.worker.execution.session import Session
from resonate_mq.worker.execution.threads import LeafThreads

__all__ = [
    "Environment",
    "Execution",
    "Fulfilled",
    "LeafThreads",
    "Lost",
    "Outcome",
    "Released",
    "Session",
    "Suspended",
]
