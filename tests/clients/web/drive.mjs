// The browser's client in Node: an EventSource, a localStorage, and a wire that can be cut.
import { connect, createServer } from "node:net";
import { OpenFeature } from "@openfeature/web-sdk";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { EventSource } from "eventsource";
import { details, obey } from "../orders.mjs";

const kept = new Map();
globalThis.localStorage = {
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => kept.set(key, String(value)),
  removeItem: (key) => kept.delete(key),
};
globalThis.EventSource = EventSource;

// Every request of provider and EventSource, and how it was answered.
let calls = [];
const reallyFetch = globalThis.fetch;
globalThis.fetch = async (address, options) => {
  const request = address instanceof Request ? address : new Request(address, options);
  const url = new URL(request.url);
  const call = {
    method: request.method,
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    ifNoneMatch: request.headers.get("if-none-match"),
    lastEventId: request.headers.get("last-event-id"),
    authorized: request.headers.has("authorization"),
    status: null,
  };
  calls.push(call);
  const response = await reallyFetch(request);
  call.status = response.status;
  return response;
};

const sockets = new Set();
let cut = false;
let target;
const wire = createServer((near) => {
  if (cut) return near.destroy();
  const far = connect(target);
  for (const [from, to] of [[near, far], [far, near]]) {
    sockets.add(from);
    from.on("error", () => to.destroy()).on("close", () => { sockets.delete(from); to.destroy(); });
    from.pipe(to);
  }
});
await new Promise((listening) => wire.listen(0, "127.0.0.1", listening));

let changes = 0;
OpenFeature.addHandler("PROVIDER_CONFIGURATION_CHANGED", () => { changes += 1; });

await obey({
  async start({ url, key, context }) {
    target = { host: "127.0.0.1", port: Number(new URL(url).port) };
    const baseUrl = `http://127.0.0.1:${wire.address().port}`;
    await OpenFeature.setContext(context);
    const provider = new OFREPWebProvider({ baseUrl, headers: [["Authorization", `Bearer ${key}`]] });
    await OpenFeature.setProviderAndWait(provider);
  },
  context: ({ context }) => OpenFeature.setContext(context),
  values: ({ flags }) => details(OpenFeature.getClient(), flags),
  status: () => OpenFeature.getClient().providerStatus,
  changes: () => changes,
  calls: () => calls,
  forget() { calls = []; },
  cut() { cut = true; sockets.forEach((one) => one.destroy()); },
  mend() { cut = false; },
  // The page is left: what it kept stays.
  stop: () => OpenFeature.clearProviders(),
});
