"""What templates say in a tag: states, icons, times and numbers, the same words everywhere."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst

from portal import pills
from portal.models import AuditEntry, User

register = template.Library()

# What a timeline leaves out of its changes; the admin's history shows everything.
MACHINERY = frozenset(
    (
        "status",
        "live",
        "revision",
        "epoch",
        "stage",
        "due_at",
        "started_at",
        "ended_at",
        "watch_until",
        "patience_since",
    )
    + ("entered_stage_at", "held_because", "blockers", "paused_reason", "acknowledged_at", "plan_hash")
)
# Outlines in a box of 20 by 20.
ICONS = {
    "theme": '<circle cx="10" cy="10" r="6.5"/><path d="M10 3.5a6.5 6.5 0 0 0 0 13z" fill="currentColor"/>',
    "person": '<circle cx="10" cy="7" r="3.25"/><path d="M3.5 17c.8-3.2 3.3-4.75 6.5-4.75s5.7 1.55 6.5 4.75"/>',
    "search": '<circle cx="9" cy="9" r="5.25"/><path d="m13 13 3.75 3.75"/>',
    "plus": '<path d="M10 4v12M4 10h12"/>',
    "down": '<path d="m5.5 8 4.5 4.5L14.5 8"/>',
    "right": '<path d="m8 5.5 4.5 4.5L8 14.5"/>',
    "clock": '<circle cx="10" cy="10" r="6.75"/><path d="M10 6v4.25l2.75 1.75"/>',
    "edit": '<path d="m12.5 4.5 3 3L7 16H4v-3z"/>',
    "out": '<path d="M12 4h4v4M16 4l-7 7M8 5H4v11h11v-4"/>',
}


@register.simple_tag
def pill(state: str, word: str = "") -> SafeString:
    return pills.pill(str(state), word)


@register.simple_tag
def glyph(state: str) -> SafeString:
    return format_html('<span class="tone-{}">{}</span>', pills.tone(str(state)), pills.glyph(str(state)))


@register.simple_tag
def mark(state: str, text: Any) -> SafeString:
    """A sentence with the glyph of its verdict, and the verdict's word for those who do not see it."""
    return format_html(
        '<span class="mark tone-{}">{}<span class="visually-hidden">{}:</span> <span>{}</span></span>',
        pills.tone(str(state)),
        pills.glyph(str(state)),
        pills.words(str(state)),
        text,
    )


@register.filter
def tone(state: str) -> str:
    return pills.tone(str(state))


@register.filter
def words(state: str) -> str:
    return pills.words(str(state))


@register.simple_tag
def icon(name: str) -> SafeString:
    return mark_safe(f'<svg class="icon" viewBox="0 0 20 20" aria-hidden="true">{ICONS[name]}</svg>')


@register.simple_tag
def stars(rating: int) -> str:
    return "★" * rating + "☆" * (5 - rating)


@register.filter
def percent(thousandths: int | None) -> str:
    """Thousandths of a percent as people write them: 25000 is "25 %", 500 is "0.5 %"."""
    if thousandths is None:
        return "–"
    return f"{thousandths / 1000:.3f}".rstrip("0").rstrip(".") + "\N{NO-BREAK SPACE}%"


@register.filter
def number(value: float | None) -> str:
    """Enough digits to judge by."""
    if value is None:
        return "–"
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


@register.filter
def span(seconds: float | timedelta | None) -> str:
    """A length of time: "45 s", "12 min", "3 h 20 min", "2 d"."""
    if seconds is None:
        return "–"
    whole = int(seconds.total_seconds() if isinstance(seconds, timedelta) else seconds)
    for unit, size, below, smaller in (("d", 86_400, 1e12, "h"), ("h", 3_600, 172_800, "min"), ("min", 60, 7_200, "s")):
        if size * (1 if unit != "min" else 2) <= whole < below:
            rest = whole % size // {"h": 3_600, "min": 60, "s": 1}[smaller]
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


@register.filter
def moment(at: datetime | None) -> SafeString:
    """A time in UTC; the page's script adds the reader's own zone to its title."""
    if at is None:
        return mark_safe("–")
    shape = (
        "%H:%M:%S"
        if timezone.now() - at < timedelta(hours=20) and at.date() == timezone.now().date()
        else "%d %b %H:%M"
    )
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S}", at.strftime(shape)
    )


@register.filter
def ago(at: datetime | None) -> SafeString:
    """How long ago; the page's script keeps it true."""
    if at is None:
        return mark_safe("–")
    passed = max(timedelta(0), timezone.now() - at)
    return format_html(
        '<time datetime="{}" data-ago title="{} UTC">{} ago</time>',
        at.isoformat(),
        f"{at:%Y-%m-%d %H:%M:%S}",
        _roughly(passed),
    )


@register.filter
def left(until: datetime | None) -> SafeString:
    """How long until then, counted down by the page's script."""
    if until is None:
        return mark_safe("–")
    whole = max(0, int((until - timezone.now()).total_seconds()))
    hours, minutes, seconds = whole // 3600, whole % 3600 // 60, whole % 60
    shown = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"
    return format_html('<time datetime="{}" data-left>{}</time>', until.isoformat(), shown)


@register.filter
def get(of: Mapping[Any, Any], key: Any) -> Any:
    return of.get(key)


@register.filter
def pretty(value: Any) -> str:
    """A JSON value in one line: strings bare, plain objects as "name value"."""
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        return "; ".join(pretty(one) for one in value)
    if isinstance(value, Mapping) and value and not any(isinstance(one, list | Mapping) for one in value.values()):
        return ", ".join(f"{name} {pretty(one)}" for name, one in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@register.filter
def cells(row: Iterable[str], headers: Sequence[Mapping[str, Any]]) -> list[SafeString]:
    """The admin's cells of a row, each with the name of its column: a phone shows them one below the other."""
    named = []
    for cell, header in zip(row, headers, strict=True):
        name = format_html('<td data-name="{}"', capfirst(str(header["text"])))
        # The admin has made the cell, and escaped what is in it.
        named.append(mark_safe(cell.replace("<td", name, 1) if cell.startswith('<td class="field') else cell))
    return named


@register.filter
def event(entry: AuditEntry) -> str:
    """What happened, as the head of a line: "deployment.rolled_back" is "Rolled back"."""
    return pills.words(entry.verb.rpartition(".")[2])


@register.filter
def event_glyph(verb: str) -> str:
    """The state whose glyph stands beside the line: "deployment.rolled_back" has that of "rolled_back"."""
    return verb.rpartition(".")[2]


@register.filter
def changes(entry: AuditEntry) -> list[tuple[str, str, str]]:
    """What an audit entry says was changed: (field, before, after), without what stayed."""
    before = entry.before if isinstance(entry.before, Mapping) else {}
    after = entry.after if isinstance(entry.after, Mapping) else {}
    return [
        (name, _said(name, before[name]) if before.get(name) is not None else "", _said(name, value))
        for name, value in after.items()
        if before.get(name) != value
    ]


@register.filter
def main_changes(entry: AuditEntry) -> list[tuple[str, str, str]]:
    """The same without what the line itself says already, and without the machinery's own notes."""
    return [one for one in changes(entry) if one[0] not in MACHINERY]


def _said(name: str, value: Any) -> str:
    """A value of the trail as people say it."""
    if name == "weight" and isinstance(value, int):
        return percent(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return "nothing"
    if isinstance(value, str) and name.endswith(("_at", "_until", "t0")):
        return value.replace("T", " ").partition(".")[0].removesuffix("Z")
    return pretty(value)


@register.filter
def address(target: str) -> str:
    """Where "deployment:42" is shown; empty when it has no page."""
    kind, _, what = target.partition(":")
    try:
        return reverse(kind, args=[what])
    except NoReverseMatch:
        return ""


@register.simple_tag
def done_by(person: User, how_many: int) -> list[AuditEntry]:
    """The last things that a person did."""
    return list(AuditEntry.objects.filter(actor_kind="person", actor_id=str(person.pk))[:how_many])


def _roughly(passed: timedelta) -> str:
    seconds = int(passed.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
