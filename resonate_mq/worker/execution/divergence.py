"""Tells when the code asks for what it cannot have: another step than the recorded one (D11), or no step at all."""

import inspect
from collections.abc import Callable
from typing import Any

from resonate_mq.functions.errors import IdTakenError, NonDeterminismError, ResonateError
from resonate_mq.protocol import tags


def divergence(
    record: dict[str, Any], *, root_id: str, parent: str, kind: str, label: str, where: Callable[[], str]
) -> ResonateError | None:
    """Return the error of a record that cannot be this step's, else None. Only for generated ids.

    Args:
        record: the stored PromiseRecord.
        root_id: of the execution.
        parent: id of the context that asks.
        kind: of the step asked for.
        label: function name of the step asked for, empty where there is none.
        where: gives file and line of the asking code; called only for an error.
    """
    found = record["tags"]
    found_parent = found.get(tags.PARENT)
    if found_parent != parent:
        owner = f"belongs to {found_parent!r}" if found_parent else "was created outside any execution"
        return IdTakenError(
            f"step id {record['id']!r} of execution {root_id!r} is taken: that promise {owner}. {where()} asks for it "
            f"as {shown(kind, label)} of {parent!r}. Ids below an execution's id are its own: use another id for the "
            "other promise, start this execution under another id, or name the step with .options(id=...)"
        )
    found_kind, found_label = found.get(tags.KIND), found.get(tags.FUNC, "")
    if found_kind is None or (found_kind == kind and found_label == label):
        return None  # without the tag it was made by another SDK, which says nothing of it
    return mismatch(root_id, record["id"], shown(found_kind, found_label), shown(kind, label), where())


def mismatch(root_id: str, step_id: str, recorded: str, asked: str, where: str) -> NonDeterminismError:
    """Return the error that shows both sides and the ways out."""
    return NonDeterminismError(
        f"execution {root_id!r} does not do on replay what it did before: step {step_id!r} is recorded as {recorded}, "
        f"the code now asks for {asked} at {where}. Ways out: (1) bring back the steps in the order they were "
        "recorded, and move what changes between runs (time, chance, I/O) into ctx.run; (2) register the changed "
        "function as a new version=, so that running executions finish on the old one; (3) start again under a new id"
    )


def shown(kind: str, label: str) -> str:
    """Return how a step is called in sentences."""
    return f"{kind} of {label}" if label else kind


def not_yieldable(yielded: object) -> str:
    """Return the sentence for a value no durable function can yield or await."""
    what = f"{type(yielded).__name__} {yielded!r:.80}"
    if inspect.iscoroutine(yielded):
        yielded.close()
        return f"yielded the coroutine {what}: pass the function instead, `yield ctx.run(function, ...)`"
    if hasattr(yielded, "send"):
        return f"yielded the generator {what}: write `yield from` for a helper, `yield ctx.run(f, ...)` for a step"
    return f"yielded {what}: a durable function yields context calls (ctx.run, ctx.rpc, ctx.sleep, ...) and promises"
