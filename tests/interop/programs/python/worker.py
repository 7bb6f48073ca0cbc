"""A worker of the official Python SDK: worker.py URL GROUP TTL_S. Serves until it is killed.

The functions have the same names and meanings as those of worker.mjs. LEDGER names a file to which `step` appends one
line for each time it really runs.
"""

import asyncio
import os
import sys
from datetime import timedelta

from resonate.resonate import Resonate
from resonate.retry import Never


async def greet(ctx, name):
    return f"hello {name}"


async def shout(ctx, name):
    return name.upper()


async def order(ctx, name, peer):
    """A local step, then a call to another group."""
    quiet = await ctx.run(greet, name)
    loud = await ctx.options(target=peer).rpc("shout", name)
    return {"quiet": quiet, "loud": loud}


async def double(ctx, n):
    return 2 * n


async def fan_out(ctx, n):
    futures = [ctx.rpc("double", i) for i in range(n)]
    return sum([await future for future in futures])


async def fib(ctx, n):
    if n < 2:
        return n
    one, two = ctx.rpc("fib", n - 1), ctx.rpc("fib", n - 2)
    return await one + await two


async def start_detached(ctx, n):
    return await ctx.detached("double", n)


async def nap(ctx, ms):
    await ctx.sleep(timedelta(milliseconds=ms))
    return "rested"


async def approve(ctx):
    return {"approved": await ctx.promise()}


async def fail(ctx, message):
    raise ValueError(message)


async def guarded(ctx, message):
    """An error of a remote child is caught like any other."""
    try:
        await ctx.rpc("fail", message)
    except Exception as error:
        return f"caught {error}"


async def step(ctx, n):
    with open(os.environ["LEDGER"], "a") as ledger:
        ledger.write(f"{n} {os.getpid()}\n")
    await asyncio.sleep(0.4)
    return n


async def steps(ctx, n):
    return [await ctx.run(step, i) for i in range(n)]


FUNCTIONS = [greet, shout, order, double, fan_out, fib, start_detached, nap, approve, fail, guarded, steps]


async def main(url, group, ttl_s):
    resonate = Resonate(url=url, group=group, ttl=timedelta(seconds=float(ttl_s)), retry_policy=Never())
    for function in FUNCTIONS:
        resonate.register(function)
    print("serving", group, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
