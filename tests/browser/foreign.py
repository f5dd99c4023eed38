"""A site of another origin, with a strict policy, whose pages include the portal's script."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

# What its own script does: text that comes late and pushes, a slow button, routes, and what can go wrong.
OWN = """
const busy = (ms) => { const end = performance.now() + ms; while (performance.now() < end); };
document.getElementById("slow").addEventListener("click", () => { busy(120); document.title = "done"; });
document.getElementById("route").addEventListener("click", () => history.pushState({}, "", "/orders/5678/items?q=1"));
document.getElementById("throw").addEventListener("click", () => { null.price; });
document.getElementById("reject").addEventListener("click", () => {
  Promise.reject(new RangeError("not at /cart?token=4711abc"));
});
document.getElementById("image").addEventListener("click", () => {
  const image = new Image();
  image.addEventListener("error", () => { document.body.dataset.missing = "1"; });
  image.src = "/missing.png?secret=1";
  document.body.append(image);
});
// Long after the page is painted: before that nothing moves, and for half a second after a phone's window has got its
// size a browser blames that. `shifted` once the browser itself has said that something moved unasked; when it has
// blamed the window all the same, which it may on a busy machine, the box moves once more.
const late = document.getElementById("late");
const move = () => { late.className = late.className ? "" : "tall"; };
const painted = new PerformanceObserver(() => { painted.disconnect(); setTimeout(move, 700); });
painted.observe({ type: "paint", buffered: true });
new PerformanceObserver((list) => {
  if (list.getEntries().some((entry) => !entry.hadRecentInput)) document.body.dataset.shifted = "1";
  else setTimeout(move, 700);
}).observe({ type: "layout-shift", buffered: true });
// What the browser says of each button: `took` are the milliseconds of its longest interaction, `told` once its click
// is among them.
const note = (list) => list.getEntries().forEach(({ interactionId, target, name, duration }) => {
  if (!interactionId || !target) return;
  target.dataset.took = Math.max(target.dataset.took || 0, duration);
  if (name === "click") target.dataset.told = "1";
});
for (const type of ["event", "first-input"]) {
  new PerformanceObserver(note).observe({ type, buffered: true, durationThreshold: 16 });
}
"""
STYLE = ".tall { height: 300px; } h1 { font-size: 60px; } body { font-family: sans-serif; }"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>
<link rel="stylesheet" href="/own.css">{script}</head><body><div id="late"></div><h1>The shop of a foreign origin</h1>
<p>Much to read, and then some more of it, so that something moves when what is above it grows.</p>
<button id="slow">Slow</button><button id="route">Route</button><button id="throw">Throw</button>
<button id="reject">Reject</button><button id="image">Image</button><script src="/own.js"></script></body></html>"""


class Site:
    """Every path is the same page; `tag` are further attributes of the script's tag."""

    portal = key = tag = ""

    def __init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def page(self) -> str:
        script = f'<script src="{self.portal}/ingest/browser.js" data-key="{self.key}" {self.tag}></script>'
        return PAGE.format(script=script)

    @property
    def files(self) -> dict[str, tuple[str, str]]:
        """What is no page, by its path: kind and text."""
        return {
            "/own.js": ("text/javascript", OWN),
            "/own.css": ("text/css", STYLE),
            "/favicon.ico": ("image/x-icon", ""),
        }

    @property
    def policy(self) -> str:
        return (
            f"default-src 'none'; script-src 'self' {self.portal}; connect-src {self.portal}; style-src 'self'; "
            "img-src 'self'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                kind, text = site.files.get(path, ("text/html; charset=utf-8", site.page()))
                found = not path.endswith(".png")
                body = text.encode() if found else b""
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", site.policy)
                self.send_header("Referrer-Policy", "no-referrer")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        return Handler
