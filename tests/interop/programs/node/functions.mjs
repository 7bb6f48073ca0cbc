// The functions of worker.py, with the same names and meanings, for the official TypeScript SDK.
import { appendFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Never } from "@resonatehq/sdk";

const once = { retryPolicy: new Never() };

function greet(_ctx, name) {
  return `hello ${name}`;
}

function shout(_ctx, name) {
  return name.toUpperCase();
}

// A local step, then a call to another group.
function* order(ctx, name, peer) {
  const quiet = yield* ctx.run(greet, name);
  const loud = yield* ctx.rpc("shout", name, ctx.options({ target: peer }));
  return { quiet, loud };
}

function double(_ctx, n) {
  return 2 * n;
}

function* fan_out(ctx, n) {
  const futures = [];
  for (let i = 0; i < n; i++) futures.push(yield* ctx.beginRpc("double", i, here(ctx)));
  let sum = 0;
  for (const future of futures) sum += yield* future;
  return sum;
}

function* fib(ctx, n) {
  if (n < 2) return n;
  const one = yield* ctx.beginRpc("fib", n - 1, here(ctx));
  const two = yield* ctx.beginRpc("fib", n - 2, here(ctx));
  return (yield* one) + (yield* two);
}

function* start_detached(ctx, n) {
  const future = yield* ctx.detached("double", n, here(ctx));
  return future.id;
}

function* nap(ctx, ms) {
  yield* ctx.sleep(ms);
  return "rested";
}

function* approve(ctx) {
  const future = yield* ctx.promise();
  return { approved: yield* future };
}

function fail(_ctx, message) {
  throw new Error(message);
}

// An error of a remote child is caught like any other.
function* guarded(ctx, message) {
  try {
    yield* ctx.rpc("fail", message, ctx.options({ ...once, target: ctx.getDependency("group") }));
  } catch (error) {
    return `caught ${error.message}`;
  }
}

async function step(_ctx, n) {
  appendFileSync(process.env.LEDGER, `${n} ${process.pid}\n`);
  await delay(400);
  return n;
}

function* steps(ctx, n) {
  const done = [];
  for (let i = 0; i < n; i++) done.push(yield* ctx.run(step, i));
  return done;
}

// This SDK sends a call without a target to the group `default`, so the group is named.
function here(ctx) {
  return ctx.options({ target: ctx.getDependency("group") });
}

const functions = { greet, shout, order, double, fan_out, fib, start_detached, nap, approve, fail, guarded, steps };

export function registerAll(resonate, group) {
  resonate.setDependency("group", group);
  for (const [name, func] of Object.entries(functions)) resonate.register(name, func);
}

export { once };
