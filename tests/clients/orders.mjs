// Orders come as lines of JSON on standard input, each answered by one line on standard output.
import { createInterface } from "node:readline";

export async function obey(orders) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: order, ...given } = JSON.parse(line);
    let answer;
    try {
      answer = { ok: (await orders[order](given)) ?? null };
    } catch (error) {
      answer = { error: String(error) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
  process.exit(0);
}

// What the client found for each flag: {key: {type, default}} in, details out.
export async function details(client, flags, context) {
  const found = {};
  for (const [key, { type, fallback }] of Object.entries(flags)) {
    const { value, variant, reason, errorCode, flagMetadata } = await client[`get${type}Details`](key, fallback, context);
    found[key] = { value, variant, reason, errorCode, metadata: flagMetadata };
  }
  return found;
}
