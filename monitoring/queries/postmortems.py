"""The first draft of a post-mortem: what is on record, in the sections in which people finish it."""

from datetime import datetime, timedelta

from monitoring.models import Incident, Threshold

SECTIONS = {
    "summary": "Summary",
    "impact": "Impact",
    "timeline": "Timeline",
    "root_cause": "Root cause",
    "monitoring_review": "Monitoring review",
    "response_review": "How the response went",
    "lessons": "Lessons",
}
MOST_LINES = 200
MOST_NAMES = 20


def draft(incident: Incident) -> dict[str, str]:
    """Every section; what only people know is empty."""
    return dict.fromkeys(SECTIONS, "") | {
        "summary": _summary(incident),
        "impact": _impact(incident),
        "timeline": _timeline(incident),
        "monitoring_review": _monitoring(incident),
        "response_review": _responses(incident),
    }


def _summary(incident: Incident) -> str:
    lines = [incident.title + (f": {incident.description}" if incident.description else "")]
    lines.append(f"Opened {_moment(incident.opened_at)}.")
    steps = (
        ("Acknowledged", incident.answered_at),
        ("Mitigated", incident.mitigated_at),
        ("Resolved", incident.resolved_at),
    )
    lines += [f"{word} after {_length(at - incident.opened_at)}." for word, at in steps if at]
    return "\n".join(lines)


def _impact(incident: Incident) -> str:
    where = " in ".join(str(one) for one in (incident.service, incident.environment) if one) or "no service named"
    end = incident.mitigated_at or incident.resolved_at
    lasted = f", for {_length(end - incident.opened_at)}" if end else ""
    return f"{incident.severity}: {where}{lasted}."


def _timeline(incident: Incident) -> str:
    entries = list(incident.timeline.order_by("seq")[: MOST_LINES + 1])
    lines = [f"{one.at:%d %b %H:%M:%S} UTC  {one.text} ({one.actor})" for one in entries[:MOST_LINES]]
    if len(entries) > MOST_LINES:
        lines.append("… the rest stands in the incident's timeline.")
    return "\n".join(lines)


def _monitoring(incident: Incident) -> str:
    alerts = list(incident.alerts.select_related("threshold").order_by("fired_at", "id"))
    if not alerts:
        lines = ["A person reported it: no threshold fired."]
    else:
        first = alerts[0]
        found = f"Detected by the threshold {first.threshold.name}: {first.reason}."
        if first.fired_at is not None:
            found += f" It fired {_length(first.fired_at - first.started_at)} after it was first crossed."
        lines = [found]
        lines += [f"Then {one.threshold.name} was {one.level}, too." for one in alerts[1:MOST_NAMES]]
        lines += [
            f"The alert of {one.threshold.name} was marked false: {one.false_because}" for one in alerts if one.false_at
        ]
    silent = _silent(incident)
    if silent:
        lines.append(f"Silent meanwhile: {', '.join(silent)}.")
    return "\n".join(lines)


def _silent(incident: Incident) -> list[str]:
    """The thresholds of the same place that saw nothing."""
    if incident.service is None and incident.environment is None:
        return []
    rows = Threshold.objects.active().exclude(alerts__incident=incident)
    for name in ("service", "environment"):
        if (thing := getattr(incident, name)) is not None:
            rows = rows.filter(**{name: thing})
    return list(rows.order_by("name").values_list("name", flat=True).distinct()[:MOST_NAMES])


def _responses(incident: Incident) -> str:
    lines = []
    for run in incident.runs.order_by("id"):
        took = f" after {_length(run.ended_at - run.created_at)}" if run.ended_at else ""
        lines.append(f"{run.name} of {run.target or 'nothing'}: {run.status}{took}. {run.outcome}".strip())
    pages = f"{incident.pages} calls were made to people." if incident.pages else ""
    return "\n".join([*(lines or ["Nothing was done by itself."]), *([pages] if pages else [])])


def _moment(at: datetime) -> str:
    return f"{at:%d %b %Y %H:%M:%S} UTC"


def _length(took: timedelta) -> str:
    seconds = max(0, int(took.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
