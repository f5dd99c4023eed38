"""What Sentry's SDK for browsers says: events of pages, read into reports without what tells visitors apart."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from monitoring import routes
from monitoring.sources import sentry

# The SDK's own words for why it lost something; whatever else comes is "other".
REASONS: Final = frozenset(
    {
        "backpressure", "before_send", "buffer_overflow", "cache_overflow", "event_processor", "ignored",
        "insufficient_data", "internal_sdk_error", "invalid", "network_error", "no_parent_span", "queue_overflow",
        "ratelimit_backoff", "sample_rate", "send_error",
    }
)  # fmt: skip
MOST_LOST: Final = 1_000  # that one envelope may say of one reason
# As static/js/browser.js has it: what stands behind the question mark of an address may be anybody's secret.
QUERY = re.compile(r"([\w/.-])[?#][^\s:)]*")
WEB = re.compile(r"(?P<origin>https?://[^/?#]*)(?P<path>/[^?#]*)?(?:\?[^#]*)?(?:#!?(?P<hash>/[^?]*))?")
SCRIPT = re.compile(r"\.(?:[cm]?[jt]sx?|vue|svelte|wasm)\Z")


def report(event: Mapping[str, Any], *, key: str, service: str) -> dict[str, Any]:
    """As `sentry.report`; addresses without their queries, frames as they can be compared."""
    made = sentry.report(event, key=key, service=service)
    for name in ("message", "stack", "url"):
        made[name] = QUERY.sub(r"\1", made[name])
    made["frames"] = [_frame(frame) for frame in made["frames"]]
    return made


def page_of(event: Mapping[str, Any]) -> str:
    """The route of the page that it happened in, as static/js/browser.js has it; empty where the SDK does not say."""
    request = event.get("request")
    url = request.get("url") if isinstance(request, Mapping) else None
    found = WEB.match(url) if isinstance(url, str) and not sentry.UNKEEPABLE.search(url) else None
    return routes.route(found["hash"] or found["path"] or "/") if found else ""


def age_of(event: Mapping[str, Any], header: Mapping[str, Any]) -> float | None:
    """How long before its being sent it happened, in seconds: both by the browser's clock, which may be any."""
    sent, at = sentry.moment(header.get("sent_at")), sentry.moment(event.get("timestamp"))
    return (sent - at).total_seconds() if sent and at else None


def believed(lost: Mapping[str, int]) -> Counter[str]:
    """What the SDK says that it lost, as far as anybody may say it: by its own words, and so many at most."""
    found: Counter[str] = Counter()
    for reason, many in lost.items():
        found[reason if reason in REASONS else "other"] += min(many, MOST_LOST)
    return Counter({reason: min(many, MOST_LOST) for reason, many in found.items()})


def _frame(frame: dict[str, Any]) -> dict[str, Any]:
    """An inline script is in its page's route. That a frame is the application's own, this SDK says of each."""
    found = WEB.match(frame["file"])
    if found and found["path"] and not SCRIPT.search(found["path"]):
        frame["file"] = found["origin"] + routes.route(found["path"])
    frame["in_app"] = False if frame["in_app"] is False else None
    return frame
