// Beside a time that is typed in UTC or another zone stands the reader's own.
(() => {
  "use strict";
  const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;

  // The moment that this wall clock shows in that zone: UTC first, then put right by what the zone makes of it.
  function moment(text, zone) {
    const guess = new Date(`${text}Z`);
    if (Number.isNaN(guess.getTime())) return null;
    if (zone === "UTC") return guess;
    const shown = new Date(`${guess.toLocaleString("sv", { timeZone: zone }).replace(" ", "T")}Z`);
    return new Date(guess.getTime() * 2 - shown.getTime());
  }

  function tell(output) {
    const field = document.getElementById(output.dataset.localOf);
    const zone = (document.getElementById(field?.dataset.zoneFrom ?? "")?.value || "UTC").trim();
    let text = "";
    try {
      const at = field?.value ? moment(field.value, zone) : null;
      if (at && zone !== HERE) text = `${at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })} here (${HERE})`;
    } catch {
      text = ""; // no such zone: the form says so when it is sent
    }
    if (output.textContent !== text) output.textContent = text;
  }

  const tellAll = () => document.querySelectorAll("[data-local-of]").forEach(tell);
  document.addEventListener("input", (event) => { if (event.target.closest("form")) tellAll(); });
  document.addEventListener("DOMContentLoaded", () => {
    tellAll();
    document.body.addEventListener("htmx:afterSettle", tellAll);
  });
})();
