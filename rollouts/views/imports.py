"""The page by which flags of another system come: paste or upload, look at what would be written, write it."""

from dataclasses import dataclass, field
from typing import Any

import orjson
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from portal import htmx, permissions, posted
from portal.access import page, person
from portal.errors import Forbidden, Invalid, Refused
from portal.models import Environment
from rollouts.actions import change_requests, imports, rebucketing
from rollouts.actions.configuration import KEEP, Plan
from rollouts.importers import formats
from rollouts.importers.options import LEAVE_OUT, REFUSE, Options
from rollouts.models import FlagConfig
from rollouts.views import flag_words
from rollouts.views.flags import flag_and_place

TITLES = {"unleash": "Unleash", "growthbook": "GrowthBook", "flagd": "flagd", "launchdarkly": "LaunchDarkly"}
MOST_SHOWN = 500


@dataclass(slots=True)
class Asked:
    """The form as it was filled in."""

    format: str = "unleash"
    environment: str = ""
    unknown: str = REFUSE
    because: str = ""
    text: str = ""
    faults: dict[str, str] = field(default_factory=dict)


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    return _shown(request, Asked())


@page
@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """What would be written. What is wrong stands beside the form, which keeps what was pasted."""
    asked = _asked(request)
    try:
        plan = imports.preview(asked.format, _document(asked), _options(asked), by=person(request))
    except (Invalid, Refused) as fault:
        return _refused(request, asked, fault)
    return _shown(request, asked, plan)


@page
@require_POST
def write(request: HttpRequest) -> HttpResponse:
    asked = _asked(request)
    try:
        plan = imports.run(asked.format, _document(asked), _options(asked), by=person(request), because=asked.because)
    except (Invalid, Refused) as fault:
        return _refused(request, asked, fault)
    counts = plan.counts
    messages.success(
        request,
        f"Imported from {TITLES[asked.format]}: {counts['create']} created, {counts['change']} changed, "
        f"{counts['keep']} kept as they are.",
    )
    return redirect(reverse("flags"))


@page
@require_POST
def rebucket(request: HttpRequest, key: str, environment: str) -> HttpResponse:
    """An imported rollout from the other system's bucketing to the portal's own; asked for where it is protected."""
    flag, place = flag_and_place(request, key, environment)
    because = posted.text(request, "because")
    config = FlagConfig.objects.of(flag, place)
    if place.protected and config is not None:
        edit = rebucketing.proposal(config)
        made = change_requests.open(flag, place, edit, by=person(request), because=because)
        messages.success(request, f"{place} is protected: change request {made.pk} asks for it.")
        return redirect("change-request", made.pk)
    rebucketing.rebucket(flag, place, by=person(request), because=because)
    messages.success(request, f"Flag {flag} is bucketed in the portal's own way in {place}.")
    return posted.back(request, reverse("flag", args=[key]))


# --- The form -----------------------------------------------------------------------------------
def _asked(request: HttpRequest) -> Asked:
    if not permissions.can(person(request), "configure", environment=permissions.ANY, service=permissions.ANY):
        raise Forbidden("none of your roles may configure flags")
    given = request.POST
    asked = Asked(given.get("format", ""), given.get("environment", ""), given.get("unknown", REFUSE))
    asked.because, asked.text = given.get("because", "").strip()[:10_000], given.get("document", "")
    upload = request.FILES.get("file")
    if upload is not None:
        if (upload.size or 0) > formats.LARGEST:
            asked.faults["file"] = f"is larger than {formats.LARGEST} bytes"
        else:
            try:
                asked.text = upload.read().decode("utf-8-sig")
            except UnicodeDecodeError:
                asked.faults["file"] = "is not UTF-8"
    return asked


def _document(asked: Asked) -> Any:
    """Invalid names what keeps the form from being read."""
    faults = dict(asked.faults)
    if asked.format not in formats.FORMATS:
        faults.setdefault("format", f"choose from {', '.join(formats.FORMATS)}")
    if not asked.text.strip():
        faults.setdefault("document", "paste the document, or choose its file")
    document: Any = None
    if not faults:
        try:
            document = orjson.loads(asked.text)
        except (ValueError, TypeError) as error:
            faults["document"] = f"is no JSON: {error}"
    if faults:
        raise Invalid(faults)
    return document


def _options(asked: Asked) -> Options:
    return Options(environment=asked.environment, unknown=asked.unknown)


def _refused(request: HttpRequest, asked: Asked, fault: Invalid | Refused) -> HttpResponse:
    asked.faults = dict(fault.errors) if isinstance(fault, Invalid) else {"": str(fault)}
    return _shown(request, asked, status=400 if isinstance(fault, Invalid) else 409)


def _shown(request: HttpRequest, asked: Asked, plan: Plan | None = None, status: int = 200) -> HttpResponse:
    who = person(request)
    environments = [one for one in Environment.objects.all() if permissions.can(
        who, "operate", environment=one, service=permissions.ANY)]  # fmt: skip
    answer = htmx.render(
        request,
        "rollouts/imports/form.html",
        asked=asked,
        plan=plan,
        rows=_rows(plan) if plan else [],
        most=MOST_SHOWN,
        formats=TITLES,
        environments=environments,
        may=permissions.can(who, "configure", environment=permissions.ANY, service=permissions.ANY),
        LEAVE_OUT=LEAVE_OUT,
    )
    answer.status_code = status
    return answer


def _rows(plan: Plan) -> list[dict[str, Any]]:
    """What changes, as the table shows it, with the words for each flag at its first row."""
    words: dict[str, list[str]] = {}
    for flag, one in plan.warnings:
        words.setdefault(flag, []).append(one)
    rows = []
    for step in plan.steps[:MOST_SHOWN]:
        if step.does == KEEP and step.moved is None and step.key not in words:
            continue
        rows.append({
            "step": step,
            "changes": flag_words.difference(step.changes) if step.kind == "config" else [],
            "warnings": words.pop(step.key, []) if step.kind == "flag" else [],
        })  # fmt: skip
    return rows
