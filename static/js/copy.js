// A button beside a snippet copies it, and says that it has.
document.addEventListener("click", async (event) => {
  "use strict";
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const snippet = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(snippet.textContent);
    button.textContent = "Copied";
  } catch {
    // Without https there is no clipboard: what is to be copied is selected.
    getSelection().selectAllChildren(snippet);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});
