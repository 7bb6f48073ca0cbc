// A client of the official TypeScript SDK: client.mjs URL GROUP SCENARIO ID. Prints `RESULT <json>` at the end.
// GROUP is where the workers are; the client is a group of its own. Scenarios are those of client.py.
import { setTimeout as delay } from "node:timers/promises";
import { Resonate } from "@resonatehq/sdk";
import { once, registerAll } from "./functions.mjs";

const [url, group, scenario, id] = process.argv.slice(2);
const resonate = new Resonate({ url, group: `${group}-client` });
registerAll(resonate, group);
const there = resonate.options({ target: group });

const scenarios = {
  // Executed by this very process, as `run` means.
  run: () => resonate.run(id, "order", "ada", group),

  // Executed by a worker of another group, which calls a third.
  rpc: () => resonate.rpc(id, "order", "ada", `${group}-peer`, there),

  // Calls with one id are one call.
  same_id: () => Promise.all(["ada", "bob"].map((name) => resonate.rpc(id, "order", name, group, there))),

  fan_out: () => resonate.rpc(id, "fan_out", 100, there),

  many_roots: async () => {
    const calls = Array.from({ length: 100 }, (_, i) => resonate.rpc(`${id}-${i}`, "double", i, there));
    return (await Promise.all(calls)).reduce((sum, value) => sum + value, 0);
  },

  recursion: () => resonate.rpc(id, "fib", 7, there),

  detached: async () => {
    const child = await resonate.rpc(id, "start_detached", 21, there);
    return { child, value: await (await resonate.get(child)).result() };
  },

  sleep: async () => {
    const started = Date.now();
    const answer = await resonate.rpc(id, "nap", 1200, there);
    return { answer, slept_s: (Date.now() - started) / 1000 };
  },

  external_promise: async () => {
    const handle = await resonate.beginRpc(id, "approve", there);
    const child = `${id}:0`;
    while (!(await exists(child))) await delay(50);
    const early = await handle.done();
    await resonate.promises.resolve(child, { data: Buffer.from(JSON.stringify({ ok: 1 })).toString("base64") });
    return { early, answer: await handle.result() };
  },

  error: async () => {
    const caught = await resonate.rpc(`${id}-caught`, "guarded", "no such luck", there);
    const options = resonate.options({ ...once, target: group });
    const raised = await resonate.rpc(`${id}-raised`, "fail", "no such luck", options).catch((e) => e.message);
    return { caught, raised };
  },

  // Nobody serves the group, so the deadline settles the promise.
  timeout: () =>
    resonate
      .rpc(id, "double", 1, resonate.options({ target: `${group}-nobody`, timeout: 700 }))
      .catch((error) => error.message),

  // Fires each second until two firings have been carried out.
  schedule: async () => {
    const made = await resonate.schedule(id, "* * * * * *", "double", 4, there);
    const record = await resonate.schedules.get(id);
    let fired = [];
    while (fired.length < 2) {
      fired = (await search("resolved")).filter((promise) => promise.id.startsWith(`${id}-`));
      await delay(100);
    }
    const values = [];
    for (const promise of fired.slice(0, 2)) values.push(await (await resonate.get(promise.id)).result());
    await made.delete();
    const after_delete = await resonate.schedules.get(id).then(
      () => 200,
      () => 404,
    );
    return { cron: record.cron, values, after_delete };
  },

  steps: async () => {
    const handle = await resonate.beginRpc(id, "steps", 5, there);
    console.log("begun", handle.id);
    return await handle.result();
  },
};

function exists(promise) {
  return resonate.promises.get(promise).then(
    () => true,
    () => false,
  );
}

// This SDK has no search, so the envelope is spoken here.
async function search(state) {
  const head = { corrId: "search", version: "2026-04-01" };
  const headers = { "Content-Type": "application/json" };
  const found = [];
  let cursor;
  do {
    const body = JSON.stringify({ kind: "promise.search", head, data: { state, limit: 50, cursor } });
    const { data } = await (await fetch(url, { method: "POST", headers, body })).json();
    found.push(...data.promises);
    cursor = data.cursor;
  } while (cursor);
  return found;
}

const result = await scenarios[scenario]();
console.log("RESULT", JSON.stringify(result));
process.exit(0);
