// A page's own code, which hands the SDK nothing but its DSN and its release; tag and transport as the page says.
import * as Sentry from "@sentry/browser";

const { dsn, release, header } = document.currentScript.dataset;
const transportOptions = header ? { headers: { "X-Sentry-Auth": header } } : {};
Sentry.init({ dsn, release, transportOptions, beforeSend: (event) => ({ ...event, tags: { team: "web" }, user: { id: "user-17" } }) });

const prices = { apple: 1 };
function priceOf(name) {
  if (!(name in prices)) throw new RangeError(`no price of ${name} at /cart?token=4711abc`);
  return prices[name];
}
function total(names) {
  return names.map(priceOf).reduce((sum, price) => sum + price, 0);
}
document.getElementById("buy").addEventListener("click", () => {
  document.title = total(["apple", "plum"]);
});
document.getElementById("fatal").addEventListener("click", () => {
  Sentry.captureMessage("the shop is gone", "fatal");
});
