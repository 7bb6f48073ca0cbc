"""Who waits for what among the bodies of an execution (D10). Changes nothing."""

from collections.abc import Iterable

from resonate_mq.worker.execution.body import Body
from resonate_mq.worker.execution.step import Step


def awaited_by(bodies: Iterable[Body]) -> list[Step]:
    """Return the steps of other executions or of the server whose settlement lets one of `bodies` go on.

    Of a set that is awaited whole (what an ended body began) one is enough: after the resume the states of all are
    known in one answer. Of a set any of which wakes somebody, all are returned.
    """
    found: dict[str, Step] = {}
    for body in bodies:
        if body.closing:
            step = next((one for one in body.open if one.remote and not one.settled), None)
            if step is not None:
                found[step.id] = step
        elif body.driver is not None:
            for step in body.driver.waiting_for():
                if step.remote and not step.settled:
                    found[step.id] = step
    return list(found.values())


def innermost_first(bodies: Iterable[Body]) -> list[Body]:
    """Return the bodies in the order they are dropped: children before who called them."""
    return sorted(bodies, key=_depth, reverse=True)


def _depth(body: Body) -> int:
    depth = 0
    while body.parent is not None:
        body, depth = body.parent, depth + 1
    return depth
