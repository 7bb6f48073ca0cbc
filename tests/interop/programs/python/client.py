"""A client of the official Python SDK: client.py URL GROUP SCENARIO ID. Prints `RESULT <json>` at the end.

GROUP is where the workers are; the client is a group of its own. Scenarios are the functions below.
"""

import asyncio
import json
import sys
from datetime import timedelta

from resonate.error import ServerError
from resonate.resonate import Resonate
from resonate.retry import Never
from resonate.types import Value

from worker import FUNCTIONS


async def run(resonate, there, id):
    """Executed by this very process, as `run` means."""
    return await resonate.run(id, "order", "ada", there.opts.target).result()


async def rpc(resonate, there, id):
    """Executed by a worker of another group, which calls a third."""
    return await there.rpc(id, "order", "ada", there.opts.target + "-peer").result()


async def same_id(resonate, there, id):
    """Calls with one id are one call."""
    handles = [there.rpc(id, "order", name, there.opts.target) for name in ("ada", "bob")]
    return [await handle.result() for handle in handles]


async def fan_out(resonate, there, id):
    return await there.rpc(id, "fan_out", 100).result()


async def many_roots(resonate, there, id):
    handles = [there.rpc(f"{id}-{i}", "double", i) for i in range(100)]
    return sum([await handle.result() for handle in handles])


async def recursion(resonate, there, id):
    return await there.rpc(id, "fib", 7).result()


async def detached(resonate, there, id):
    child = await there.rpc(id, "start_detached", 21).result()
    return {"child": child, "value": await (await resonate.get(child)).result()}


async def sleep(resonate, there, id):
    started = asyncio.get_running_loop().time()
    answer = await there.rpc(id, "nap", 1200).result()
    return {"answer": answer, "slept_s": asyncio.get_running_loop().time() - started}


async def external_promise(resonate, there, id):
    handle = there.rpc(id, "approve")
    child = f"{id}.1"
    while True:
        try:
            await resonate.promises.get(child)
            break
        except ServerError:
            await asyncio.sleep(0.05)
    early = handle.done()
    await resonate.promises.resolve(child, Value(data={"ok": 1}))
    return {"early": early, "answer": await handle.result()}


async def error(resonate, there, id):
    caught = await there.rpc(f"{id}-caught", "guarded", "no such luck").result()
    try:
        await there.rpc(f"{id}-raised", "fail", "no such luck").result()
    except Exception as problem:
        return {"caught": caught, "raised": str(problem)}


async def timeout(resonate, there, id):
    """Nobody serves the group, so the deadline settles the promise."""
    nobody = resonate.options(target=there.opts.target + "-nobody", timeout=timedelta(milliseconds=700))
    try:
        await nobody.rpc(id, "double", 1).result()
    except Exception as problem:
        return type(problem).__name__


async def search(resonate, state):
    """All pages."""
    found, cursor = [], None
    while True:
        page = await resonate.promises.search(state, None, 50, cursor)
        found, cursor = found + page.promises, page.cursor
        if not cursor:
            return found


async def schedule(resonate, there, id):
    """Fires each second until two firings have been carried out."""
    made = await there.schedule(id, "* * * * * *", "double", args=(4,))
    record = await resonate.schedules.get(id)
    values = []
    while len(values) < 2:
        resolved = await search(resonate, "resolved")
        values = [promise.value.data for promise in resolved if promise.id.startswith(id + ".")]
        await asyncio.sleep(0.1)
    await made.delete()
    try:
        await resonate.schedules.get(id)
    except ServerError as gone:
        return {"cron": record.cron, "values": values[:2], "after_delete": gone.code}


async def steps(resonate, there, id):
    handle = there.rpc(id, "steps", 5)
    print("begun", await handle.id(), flush=True)
    return await handle.result()


async def main(url, group, scenario, id):
    resonate = Resonate(url=url, group=group + "-client", retry_policy=Never())
    for function in FUNCTIONS:
        resonate.register(function)
    await asyncio.sleep(0)  # the SDK starts its network in a task; direct calls before that are refused
    result = await globals()[scenario](resonate, resonate.options(target=group), id)
    print("RESULT", json.dumps(result), flush=True)
    await resonate.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
