// Light, dark or as the system: chosen in the header, kept in this browser. In the head, so that no page flashes.
(() => {
  "use strict";
  const root = document.documentElement;
  const NEXT = { auto: "light", light: "dark", dark: "auto" };

  function chosen() {
    try { return localStorage.getItem("theme") || "auto"; } catch { return "auto"; }
  }

  function show(theme) {
    root.dataset.theme = theme;
    document.querySelectorAll("[data-theme-toggle]").forEach((button) => {
      const text = `Theme: ${theme === "auto" ? "as the system" : theme}`;
      button.title = text;
      button.setAttribute("aria-label", text);
    });
    document.dispatchEvent(new CustomEvent("theme"));
  }

  show(chosen());
  document.addEventListener("DOMContentLoaded", () => show(chosen()));
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    const theme = NEXT[chosen()] || "auto";
    try { localStorage.setItem("theme", theme); } catch { /* private windows may keep nothing */ }
    show(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(chosen()));
})();
