"""A workflow that waits for a person: for seconds here, for days if need be."""

import json
import time
from collections.abc import Generator
from typing import Any

from resonate_mq import Context, Resonate

resonate = Resonate.local()


@resonate.register
def expense(ctx: Context, amount: float, decision_id: str) -> Generator[Any, Any, str]:
    """Ask, wait, act."""
    decision = yield ctx.promise(id=decision_id)
    yield ctx.run(ask, amount, decision_id)
    answer = yield decision
    return f"{amount:.2f}: {answer}"


def ask(ctx: Context, amount: float, decision_id: str) -> None:
    """Send the question; whoever has the id can answer, from anywhere."""
    print(f"please decide about {amount:.2f}: resonate-mq promises resolve {decision_id} --data yes")


if __name__ == "__main__":
    resonate.promises.create("expense-1-decision", timeout=int(time.time() * 1000) + 3_600_000)
    handle = expense.begin_run("expense-1", 99.5, "expense-1-decision")
    resonate.promises.resolve("expense-1-decision", data=json.dumps("approved"))
    print(handle.result())
