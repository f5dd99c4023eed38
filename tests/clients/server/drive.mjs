// The client for servers: one request for each evaluation.
import { OpenFeature } from "@openfeature/server-sdk";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { details, obey } from "../orders.mjs";

await obey({
  async start({ url, key }) {
    await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: url, headers: [["X-API-Key", key]] }));
  },
  values: ({ flags, context }) => details(OpenFeature.getClient(), flags, context),
});
