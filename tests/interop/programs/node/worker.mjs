// A worker of the official TypeScript SDK: worker.mjs URL GROUP TTL_S. Serves until it is killed.
import { Resonate } from "@resonatehq/sdk";
import { registerAll } from "./functions.mjs";

const [url, group, ttl] = process.argv.slice(2);
const resonate = new Resonate({ url, group, ttl: Number(ttl) * 1000 });
registerAll(resonate, group);
console.log("serving", group);
