"""How a state looks: a glyph, a word and a colour, the same on every page and in the admin."""

from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

DISK = "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1Z"
RING = f'<path fill-rule="evenodd" d="{DISK}M8 2.75a5.25 5.25 0 1 0 0 10.5 5.25 5.25 0 0 0 0-10.5Z"/>'
CHECK = "M7.05 11.25 3.85 8.05l1.1-1.1 2.1 2.1 4-4 1.1 1.1z"

# What is drawn in a box of 16 by 16, in the colour of the text.
GLYPHS: Final = {
    "check": f'<path fill-rule="evenodd" d="{DISK}{CHECK}"/>',
    "check-outline": f'{RING}<path d="{CHECK}"/>',
    "half": f'<path fill-rule="evenodd" d="{DISK}M8 2.75v10.5a5.25 5.25 0 0 1 0-10.5Z"/>',
    "ring": RING,
    "dot": f'{RING}<circle cx="8" cy="8" r="2.25"/>',
    "clock": f'{RING}<path d="M7.2 4.25h1.6v3.4l2.2 2.2-1.1 1.1-2.7-2.7z"/>',
    "octagon": (
        '<path fill-rule="evenodd" '
        'd="M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1zM7.2 4v5h1.6V4zm0 6.4V12h1.6v-1.6z"/>'
    ),
    "triangle": '<path fill-rule="evenodd" d="M8 1.2 15.4 14.4H.6zM7.2 6v4h1.6V6zm0 5.3v1.5h1.6v-1.5z"/>',
    "dashed": (
        '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="3.2 2.2"/>'
    ),
    "bolt": '<path d="M9.6 1 3 9h4l-.9 6L13 6.8H9z"/>',
    "dash": '<path d="M3 7.1h10v1.8H3z"/>',
    "pause": f'<path fill-rule="evenodd" d="{DISK}M5.4 5v6h1.8V5zm3.4 0v6h1.8V5z"/>',
    "undo": '<path d="M6.6 1.8 1.6 6.4l5 4.6V8c3.2 0 5.3 1 7 4.6.5-5-2.2-7.8-7-7.9z"/>',
    "up": '<path d="M8 2.2 14 8.2l-1.25 1.25L8.9 5.6V14H7.1V5.6L3.25 9.45 2 8.2z"/>',
    "down": '<path d="M8 13.8 2 7.8l1.25-1.25L7.1 10.4V2h1.8v8.4l3.85-3.85L14 7.8z"/>',
    "level": '<path d="M13.8 8 7.8 14l-1.25-1.25L10.4 8.9H2V7.1h8.4L6.55 3.25 7.8 2z"/>',
    "cross": (
        f'<path fill-rule="evenodd" d="{DISK}'
        'M5.6 4.5 4.5 5.6 6.9 8l-2.4 2.4 1.1 1.1L8 9.1l2.4 2.4 1.1-1.1L9.1 8l2.4-2.4-1.1-1.1L8 6.9z"/>'
    ),
    "power": '<path d="M7.1 1h1.8v6.5H7.1z"/><path d="M11 2.6 10 4a4.7 4.7 0 1 1-4 0L5 2.6a6.4 6.4 0 1 0 6 0z"/>',
}

# (tone, glyph) of every status that something of ours can have.
LOOKS: Final[dict[str, tuple[str, str]]] = {
    # deployments
    "draft": ("idle", "dash"),
    "awaiting_approval": ("due", "clock"),
    "scheduled": ("run", "clock"),
    "progressing": ("run", "half"),
    "paused": ("due", "pause"),
    "succeeded": ("ok", "check"),
    "rolling_back": ("bad", "undo"),
    "rolled_back": ("bad", "undo"),
    "rejected": ("bad", "cross"),
    "cancelled": ("idle", "dash"),
    "superseded": ("idle", "dash"),
    # verdicts
    "passed": ("ok", "check"),
    "failed": ("bad", "octagon"),
    "inconclusive": ("due", "dot"),
    "pending": ("run", "clock"),
    "error": ("bad", "octagon"),
    # alerts and their levels
    "inactive": ("idle", "dash"),
    "firing": ("bad", "octagon"),
    "warning": ("due", "triangle"),
    "critical": ("bad", "octagon"),
    "info": ("run", "dot"),
    # incidents
    "triggered": ("bad", "octagon"),
    "acknowledged": ("due", "half"),
    "mitigated": ("run", "half"),
    "resolved": ("ok", "check"),
    "closed": ("idle", "check-outline"),
    "SEV1": ("bad", "octagon"),
    "SEV2": ("bad", "octagon"),
    "SEV3": ("due", "triangle"),
    "SEV4": ("idle", "dot"),
    # the status page
    "investigating": ("bad", "octagon"),
    "identified": ("due", "triangle"),
    "monitoring": ("run", "half"),
    "in_progress": ("run", "half"),
    "verifying": ("run", "half"),
    "completed": ("ok", "check"),
    "operational": ("ok", "check"),
    "degraded_performance": ("due", "triangle"),
    "partial_outage": ("due", "triangle"),
    "major_outage": ("bad", "octagon"),
    "under_maintenance": ("run", "half"),
    "computed": ("idle", "dash"),
    # checklist items
    "open": ("idle", "ring"),
    "verified": ("ok", "check"),
    "confirmed": ("ok", "check-outline"),
    "failing": ("bad", "octagon"),
    "stale": ("due", "clock"),
    "waived": ("waived", "dashed"),
    "n/a": ("idle", "dash"),
    # votes and decisions
    "go": ("ok", "check"),
    "no_go": ("bad", "cross"),
    "abstain": ("idle", "dash"),
    "break_glass": ("glass", "bolt"),
    # change requests
    "asked": ("run", "dot"),
    "edited": ("run", "dot"),
    "rebased": ("run", "undo"),
    "timed": ("run", "clock"),
    "approve": ("ok", "check"),
    "reject": ("bad", "cross"),
    "approved": ("ok", "check-outline"),
    "applied": ("ok", "check"),
    "withdrawn": ("idle", "dash"),
    # flags
    "on": ("ok", "power"),
    "off": ("idle", "power"),
    "killed": ("bad", "power"),
    "serving": ("run", "half"),
    "archived": ("idle", "dash"),
    # messages and responses
    "done": ("ok", "check"),
    "refused": ("bad", "cross"),
    "sent": ("ok", "check"),
    "proposed": ("due", "dot"),
    "published": ("ok", "check"),
    "dropped": ("idle", "dash"),
    "dead": ("bad", "octagon"),
    # sources
    "waiting": ("run", "clock"),
    "ok": ("ok", "check"),
    "partly": ("due", "triangle"),
    # monitoring coverage
    "watched": ("ok", "check"),
    "blind": ("due", "dot"),
    "unwatched": ("due", "triangle"),
    "missing": ("idle", "dashed"),
    # signs of life
    "alive": ("ok", "check"),
    "silent": ("bad", "octagon"),
    # trends, and what they mean
    "rising": ("idle", "up"),
    "falling": ("idle", "down"),
    "stable": ("idle", "level"),
    "unknown": ("idle", "dashed"),
    "better": ("ok", "check"),
    "worse": ("bad", "triangle"),
    # limits
    "within": ("ok", "check"),
    "at_risk": ("due", "triangle"),
    "over": ("bad", "octagon"),
    # scaling
    "scale_up": ("run", "up"),
    "scale_down": ("run", "down"),
    "none": ("idle", "level"),
    "advised": ("due", "dot"),
    "accepted": ("ok", "check-outline"),
    "declined": ("idle", "cross"),
    "sending": ("run", "clock"),
    "noted": ("idle", "dash"),
    "dismissed": ("idle", "dash"),
    # web vitals
    "good": ("ok", "check"),
    "needs_improvement": ("due", "triangle"),
    "poor": ("bad", "octagon"),
    "too_few": ("idle", "dot"),
    "no_data": ("idle", "dash"),
    "obsolete": ("idle", "dash"),
    # what people feel
    "positive": ("ok", "check-outline"),
    "neutral": ("idle", "dot"),
    "negative": ("bad", "triangle"),
    "urgent": ("bad", "octagon"),
    "high": ("due", "triangle"),
    "normal": ("idle", "ring"),
    "low": ("idle", "dash"),
    # what was done
    "success": ("ok", "check"),
    "opened": ("bad", "octagon"),
    "alert": ("bad", "octagon"),
    "escalated": ("bad", "triangle"),
    "raised": ("bad", "triangle"),
    "note": ("idle", "dot"),
    "queued": ("run", "clock"),
    "retried": ("run", "clock"),
    "stage_entered": ("run", "half"),
    "advanced": ("run", "half"),
    "voted": ("run", "check-outline"),
    "switched_on": ("ok", "power"),
}
UNKNOWN: Final = ("idle", "dot")


def tone(state: str) -> str:
    return LOOKS.get(state, UNKNOWN)[0]


def glyph(state: str) -> SafeString:
    """The picture alone; whoever uses it writes the word beside it."""
    name = LOOKS.get(state, UNKNOWN)[1]
    return _drawn(name)


def drawing(name: str) -> SafeString:
    """A glyph by its own name."""
    return _drawn(name)


def pill(state: str, word: str = "") -> SafeString:
    """A status as a glyph, a word and a colour."""
    return format_html('<span class="pill tone-{}">{}{}</span>', tone(state), glyph(state), word or words(state))


def words(state: str) -> str:
    """As people say it: "Awaiting approval"; names in capitals stay as they are."""
    text = str(state).replace("_", " ")
    return text[:1].upper() + text[1:]


def _drawn(name: str) -> SafeString:
    # No input comes here: GLYPHS is written above.
    return mark_safe(f'<svg class="glyph" viewBox="0 0 16 16" aria-hidden="true">{GLYPHS[name]}</svg>')
