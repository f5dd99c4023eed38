// The playground's keys: Ctrl+Enter asks, the arrows walk from answer to answer.
(() => {
  "use strict";
  document.addEventListener("keydown", (event) => {
    if (event.target.id === "context" && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      document.querySelector("#play button:not([name])").click();
      return;
    }
    const here = event.target.closest?.("[data-steps] summary");
    if (!here || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
    const all = [...document.querySelectorAll("[data-steps] > li > details > summary")];
    const next = all[all.indexOf(here) + (event.key === "ArrowDown" ? 1 : -1)];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
})();
