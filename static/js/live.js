// Keeps a page live: one socket says what changed, each element re-fetches its own part.
// <section data-live="deployments:42" hx-get="…" hx-trigger="live"> · <div data-chart="chart:deployment:42"> · <span data-live-clock>
(() => {
  "use strict";
  const POLL_EVERY = 5000;
  const FIRST_WAIT = 500;
  const LONGEST_WAIT = 15000;
  let socket = null;
  let wait = FIRST_WAIT;
  let heard = 0;
  let state = "connecting";

  const watched = () => [...document.querySelectorAll("[data-live], [data-chart]")];
  const topicsOf = (element) => (element.dataset.live || element.dataset.chart).split(/\s+/);
  const refresh = (element) => element.dispatchEvent(new CustomEvent("live"));
  const refreshAll = () => document.querySelectorAll("[data-live]").forEach(refresh);

  function show(next) {
    state = next;
    document.documentElement.dataset.liveState = next;
    tick();
  }

  function tick() {
    const seconds = Math.max(0, Math.round((Date.now() - heard) / 1000));
    const text = state === "live" ? `live · checked ${seconds} s ago` : state === "connecting" ? "connecting…" : "not live · asking every 5 s";
    document.querySelectorAll("[data-live-clock]").forEach((clock) => { clock.textContent = text; });
  }

  function subscribe() {
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    const topics = [...new Set(watched().flatMap(topicsOf))];
    if (topics.length) socket.send(JSON.stringify({ subscribe: topics }));
  }

  function hear(message) {
    heard = Date.now();
    if (message.state) {
      const was = state;
      show(message.state);
      // Whatever was missed while nobody listened is fetched now.
      if (message.state === "live" && was !== "live") refreshAll();
      return;
    }
    if (!message.topic) return;
    const one = `${message.topic}:${message.id}`;
    watched().forEach((element) => {
      const topics = topicsOf(element);
      if (element.dataset.chart && topics.includes(message.topic)) {
        element.dispatchEvent(new CustomEvent("frame", { detail: message }));
      } else if (element.dataset.live && (topics.includes(message.topic) || topics.includes(one))) {
        refresh(element);
      }
    });
  }

  function connect() {
    if (document.hidden || !watched().length) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/live/`);
    socket.addEventListener("open", () => { wait = FIRST_WAIT; subscribe(); });
    socket.addEventListener("message", (event) => hear(JSON.parse(event.data)));
    socket.addEventListener("close", () => {
      socket = null;
      show("lost");
      setTimeout(connect, wait * (0.5 + Math.random()));
      wait = Math.min(LONGEST_WAIT, wait * 2);
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    show("connecting");
    connect();
    setInterval(tick, 1000);
    setInterval(() => { if (state === "lost" && !document.hidden) refreshAll(); }, POLL_EVERY);
    document.body.addEventListener("htmx:afterSettle", subscribe);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      if (socket) refreshAll(); else connect();
    });
  });
})();
