// Flightdeck: tells the portal how long users wait for this page, and what breaks. Set up by its own tag's data-*.
(() => {
  "use strict";
  const tag = document.currentScript, set = tag?.dataset, win = window, doc = document, perf = performance, nav = navigator;
  const once = Symbol.for("flightdeck.browser"), EVERY = 10000, MOST = 50, LONGEST_WAIT = 300000;
  if (!set?.key || win[once] || nav.globalPrivacyControl || nav.doNotTrack === "1" || !(Math.random() < (set.sample ?? 1))) return;
  win[once] = true;
  const to = `${tag.src.replace(/\.js(\?.*)?$/, "")}?key=${encodeURIComponent(set.key)}`;
  // What goes wrong in here is not the page's trouble.
  const safe = (f) => (...given) => { try { return f(...given); } catch { /* nothing */ } };
  const on = (name, f, where = win) => where.addEventListener(name, safe(f), true);
  const soon = (f, after) => setTimeout(safe(f), after);

  // A page is its route: what may be an identifier is left out, and so is every query.
  const ID = /^\d+$|\d{4}|@|%40|^(?=.*\d)[\w~.%-]{16,}$|^(?=.*\d)[\da-f-]{8,}$|.{40}/i;
  const here = () => set.page || (/^#!?\//.test(location.hash) ? location.hash.replace(/^#!?/, "") : location.pathname).split("?")[0].split("/").map((part) => ID.test(part) ? ":id" : part).join("/").slice(0, 100);
  const bare = (text, most) => String(text ?? "").slice(0, 9999).replace(/([\w/.-])[?#][^\s:)]*/g, "$1").slice(0, most);

  // A view is one load of the page, or one route of a page that changes by itself.
  const queue = [], watches = [];
  let views = [], low = Infinity, high = 0, hidden = Infinity, start = 0, lcp, painted, failures = 0, wait = 0, errors = 0;
  const last = () => views[views.length - 1];
  const viewAt = (time) => [...views].reverse().find((view) => view.at <= time) || views[0];
  const interactions = () => perf.interactionCount ?? (high ? (high - low) / 7 + 1 : 0);
  const begin = (at = perf.now()) => views.push({ at, id: Math.random().toString(36).slice(2) + Date.now().toString(36), page: here(), cls: 0, slow: {}, before: interactions(), told: {} });
  const tell = (name, milliseconds, view = views[0]) => {
    if (view.told[name] || !(milliseconds >= 0)) return;
    view.told[name] = 1;
    queue.push({ at: perf.now(), id: `${view.id}-${name}`, page: view.page, name, value: +(milliseconds / 1000).toFixed(4) });
  };
  const knows = (type) => PerformanceObserver.supportedEntryTypes.includes(type);
  const watch = (type, f, more) => {
    if (!knows(type)) return;
    const each = safe((entries) => entries.forEach(f)), watcher = new PerformanceObserver((list) => each(list.getEntries()));
    watcher.observe({ type, buffered: true, ...more });
    watches.push(() => each(watcher.takeRecords()));
  };
  // What the browser has seen and not told yet.
  const take = () => watches.forEach((each) => each());
  const timing = () => perf.getEntriesByType("navigation")[0] || {};

  const settleLcp = () => { take(); tell("lcp", lcp); };
  const settleLoad = () => {
    const { responseStart, responseEnd, domComplete, loadEventEnd } = timing();
    if (responseStart) tell("ttfb", Math.max(responseStart - start, 0));
    if (!loadEventEnd || loadEventEnd > hidden) return;
    tell("load", loadEventEnd - start);
    tell("render", domComplete - responseEnd);
  };
  const settle = (view) => {
    if (painted && knows("layout-shift")) tell("cls", view.cls * 1000, view);
    // The worst interaction; of many, one in fifty may be worse. One too short to be told of took 8 ms at the most.
    const many = interactions() - view.before, slow = Object.values(view.slow).sort((a, b) => b - a);
    if (many > 0 || slow[0]) tell("inp", slow[Math.min(slow.length - 1, Math.floor(many / 50))] ?? 8, view);
  };
  const turned = () => {
    const old = last();
    if (old.page === here()) return;
    begin();
    // The interaction that led here is told of after its paint.
    soon(() => { take(); settle(old); views = views.filter((view, place) => !place || view !== old); }, 1000);
  };
  const leave = () => {
    hidden = Math.min(hidden, perf.now());
    settleLcp();
    settleLoad();
    views.forEach(settle);
    send(1);
  };
  const acted = ({ interactionId: id, startTime, duration }) => {
    if (!id) return;
    [low, high] = [Math.min(low, id), Math.max(high, id)];
    const { slow } = viewAt(startTime);
    slow[id] = Math.max(slow[id] || 0, duration);
  };
  const measure = () => {
    start = timing().activationStart || 0;
    if (doc.visibilityState === "hidden") hidden = 0;
    perf.getEntriesByType("visibility-state").forEach(({ name, startTime }) => { if (name === "hidden" && startTime > start) hidden = Math.min(hidden, startTime); });
    soon(function again() { send(); soon(again, EVERY); }, EVERY);
    watch("paint", ({ name, startTime }) => {
      if (!/^first-c/.test(name) || startTime > hidden) return;
      painted = 1;
      tell("fcp", Math.max(startTime - start, 0));
    });
    watch("largest-contentful-paint", ({ startTime }) => { if (startTime < hidden) lcp = Math.max(startTime - start, 0); });
    watch("layout-shift", ({ hadRecentInput, startTime, value }) => {
      if (hadRecentInput) return;
      const view = viewAt(startTime), joins = startTime - view.recent < 1000 && startTime - view.first < 5000;
      if (!joins) view.first = startTime;
      view.recent = startTime;
      view.sum = joins ? view.sum + value : value;
      view.cls = Math.max(view.cls, view.sum);
    });
    watch("event", acted, { durationThreshold: 16 });
    watch("first-input", acted);
    ["keydown", "click"].forEach((name) => on(name, (event) => event.isTrusted && settleLcp()));
    if (doc.readyState === "complete") soon(settleLoad);
    else on("load", ({ target }) => target === doc && soon(settleLoad));
  };

  const send = (leaves) => {
    const now = perf.now();
    if (!queue.length || (now < wait && !leaves)) return;
    const batch = queue.splice(0, MOST), { service, release, flag, variant } = set;
    const some = (figures) => batch.filter((one) => !one.type === figures).map(({ at, ...one }) => ({ ...one, age: (now - at) / 1000 }));
    const body = JSON.stringify({ service, release, flag, variant, touch: nav.maxTouchPoints, measurements: some(true), errors: some(false) });
    // It may come twice: the portal knows each by its id.
    const again = (seconds) => {
      wait = perf.now() + Math.max(1000 * seconds || 0, Math.min(EVERY * 2 ** failures++, LONGEST_WAIT));
      queue.unshift(...batch);
      queue.splice(4 * MOST);
    };
    if (leaves && !("keepalive" in Request.prototype)) return nav.sendBeacon(to, body);
    fetch(to, { method: "POST", body, keepalive: true, credentials: "omit", referrerPolicy: "no-referrer" }).then(({ status, headers }) => {
      if (status === 429 || status > 499) again(headers.get("Retry-After"));
      else failures = 0;
    }, () => again());
  };
  const fail = (type, message, stack, source) => {
    if (errors++ < 20) queue.push({ at: perf.now(), id: `${last().id}-e${errors}`, page: last().page, type: bare(type, 100), message: bare(message, 500), stack: bare(stack, 3000), source: bare(source, 300) });
  };
  safe(() => {
    begin(0);
    on("error", ({ target, message, error, filename, lineno, colno }) => {
      if (target instanceof Element) fail("ResourceError", `${target.localName} not loaded`, "", target.src || target.href);
      else fail(error?.name || "Error", error?.message ?? message, error?.stack, `${filename}:${lineno}:${colno}`);
    });
    on("unhandledrejection", ({ reason }) => fail(reason?.name || "UnhandledRejection", reason?.message ?? reason, reason?.stack));
    on("visibilitychange", () => doc.visibilityState === "hidden" && leave(), doc);
    on("pagehide", leave);
    on("pageshow", ({ persisted }) => persisted && begin());
    on("popstate", turned);
    ["pushState", "replaceState"].forEach((name) => {
      const real = history[name];
      history[name] = function (...given) {
        const result = real.apply(this, given);
        safe(name === "pushState" ? turned : () => { last().page = here(); })();
        return result;
      };
    });
    if (doc.prerendering) on("prerenderingchange", measure, doc);
    else measure();
  })();
})();
