// What every page does: ages and countdowns that stay true, panels that close, the title that counts incidents.
(() => {
  "use strict";
  const two = (number) => String(number).padStart(2, "0");

  function ago(seconds) {
    for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
      if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
    }
    return `${Math.max(0, Math.floor(seconds))} s ago`;
  }

  function left(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
    return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${two(minutes)}:${two(rest)}`;
  }

  function tick() {
    const now = Date.now();
    document.querySelectorAll("time[data-ago]").forEach((element) => {
      const text = ago((now - Date.parse(element.dateTime)) / 1000);
      if (element.textContent !== text) element.textContent = text;
    });
    document.querySelectorAll("time[data-left]").forEach((element) => {
      element.textContent = left((Date.parse(element.dateTime) - now) / 1000);
    });
    document.querySelectorAll("progress[data-from]").forEach((element) => {
      element.value = Math.min(element.max, (now - Date.parse(element.dataset.from)) / 1000);
    });
  }

  function local(root) {
    root.querySelectorAll("time[datetime]:not([data-zoned])").forEach((element) => {
      const at = new Date(element.dateTime);
      if (Number.isNaN(at.getTime())) return;
      element.dataset.zoned = "";
      element.title = `${element.title || `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`} · ${at.toLocaleString()} here`;
    });
  }

  // The panel of a verb: the first field gets the focus; Escape and a click elsewhere close it.
  const panels = "details.act[open], details.menu[open]";
  document.addEventListener("toggle", (event) => {
    const panel = event.target;
    if (!panel.matches?.("details.act, details.menu") || !panel.open) return;
    document.querySelectorAll(panels).forEach((other) => { if (other !== panel) other.open = false; });
    panel.querySelector("textarea, select, input:not([type=hidden])")?.focus();
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    document.querySelectorAll(panels).forEach((panel) => {
      panel.open = false;
      panel.querySelector("summary").focus();
    });
  });
  document.addEventListener("click", (event) => {
    document.querySelectorAll(panels).forEach((panel) => { if (!panel.contains(event.target)) panel.open = false; });
  });
  // One press, one deed.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
  addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));

  // What a live part has come to say is read out once, when its words change; not at every fetch.
  const announced = new Map();
  function announce() {
    const news = [];
    document.querySelectorAll("[data-announce]").forEach((element) => {
      const text = element.dataset.announce;
      if (announced.has(element.id) && announced.get(element.id) !== text) news.push(text);
      announced.set(element.id, text);
    });
    const announcer = document.getElementById("announcer");
    if (announcer && news.length) announcer.textContent = news.join(". ");
  }

  function title() {
    const count = Number(document.querySelector("[data-open-incidents]")?.dataset.openIncidents || 0);
    const bare = document.title.replace(/^\(\d+\) /, "");
    document.title = count ? `(${count}) ${bare}` : bare;
    const favicon = document.querySelector("link[rel=icon]");
    const wanted = count ? favicon?.dataset.down : favicon?.dataset.fine;
    if (wanted && favicon.getAttribute("href") !== wanted) favicon.setAttribute("href", wanted);
  }

  document.addEventListener("DOMContentLoaded", () => {
    local(document);
    // On a phone the sections scroll: the one that is open is in sight.
    const here = document.querySelector(".sections a[aria-current]");
    if (here) here.parentElement.scrollLeft = here.offsetLeft - here.parentElement.clientWidth / 2;
    title();
    announce();
    tick();
    setInterval(tick, 1000);
    document.body.addEventListener("htmx:afterSettle", () => { local(document); title(); announce(); tick(); });
  });
})();
