"""Segments on pages: who belongs, who uses them, and the form that says so."""

from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Func, IntegerField, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal import htmx, permissions, posted
from portal.access import page, person
from portal.errors import Forbidden, Invalid, Refused, Stale
from portal.models import User
from rollouts.actions import change_requests, previews, segments
from rollouts.actions.previews import Preview
from rollouts.models import FlagConfig, Segment, SegmentRevision
from rollouts.queries import uses
from rollouts.views import segment_forms, typed
from rollouts.views.config_changes import Change
from rollouts.views.segment_forms import SegmentForm
from rollouts.views.typed import Typed

PAGE_SIZE = 40
UNITS_SHOWN = 50
HISTORY = 8  # newest, before all of it is asked for
HISTORY_MOST = 200


@dataclass(slots=True)
class Visit:
    """One look at the form."""

    request: HttpRequest
    form: SegmentForm
    segment: Segment | None = None
    revision: int = 0  # that the person has seen
    because: str = ""
    news: str = ""
    focus: str = ""
    review: list[Change] | None = None
    previews: list[Preview] = field(default_factory=list)
    refused: str = ""

    def show(self) -> HttpResponse:
        reached = _reached(self.segment) if self.segment else []
        address = reverse("segment-edit", args=[self.segment.key]) if self.segment else reverse("segment-new")
        return htmx.render(
            self.request,
            "rollouts/segments/edit.html",
            "_form",
            visit=self,
            form=self.form,
            segment=self.segment,
            reached=_visible(person(self.request), reached),
            is_protected=any(config.environment.protected for config in reached),
            address=address,
        )


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    asked = request.GET.get("q", "").strip()
    rows: QuerySet[Segment] = Segment.objects.annotate(
        included_count=_length("included"), excluded_count=_length("excluded")
    ).defer("included", "excluded")
    if asked:
        rows = rows.filter(Q(key__icontains=asked) | Q(name__icontains=asked) | Q(description__icontains=asked))
    found = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "rollouts/segments/list.html",
        "_list",
        found=found,
        rows=[(one, segment_forms.words(one.conditions)) for one in found.object_list],
        asked=asked,
        may_make=_may_make(request),
    )


@page
@require_GET
def detail(request: HttpRequest, key: str) -> HttpResponse:
    who = person(request)
    segment = get_object_or_404(Segment, key=key)
    reached = _reached(segment)
    is_whole = request.GET.get("history") == "all"
    most = HISTORY_MOST if is_whole else HISTORY
    revisions = list(SegmentRevision.objects.filter(segment=key).order_by("-number")[: most + 1])
    return htmx.render(
        request,
        "rollouts/segments/detail.html",
        "_segment",
        segment=segment,
        lines=[segment_forms.words([one]) for one in segment.conditions],
        included=segment.included[:UNITS_SHOWN],
        excluded=segment.excluded[:UNITS_SHOWN],
        users=uses.of_segment(key, who),
        hidden=len(reached) - len(_visible(who, reached)),
        why_not=_why_not(who, reached),
        history=_history(revisions)[:most],
        is_more=len(revisions) > most,
        is_whole=is_whole,
        is_protected=any(config.environment.protected for config in reached),
    )


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    permissions.require(person(request), "configure", environment=permissions.ANY, service=permissions.ANY)
    if request.method == "GET":
        return Visit(request, SegmentForm(), focus="key").show()
    given = Typed(request.POST)
    visit = Visit(request, SegmentForm.typed(given, given.text("key")), because=given.because())
    pressed = given.text("do")
    if pressed not in ("save", "review", ""):
        visit.news, visit.focus = visit.form.press(pressed)
        return visit.show()

    def make() -> Segment:
        document = visit.form.document()
        return segments.create(visit.form.key, by=person(request), because=visit.because, **document)

    return _act(visit, make, "Segment {0} is there. Rules of flags can name it now.")


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, key: str) -> HttpResponse:
    """Typed, told in words, then saved."""
    segment = get_object_or_404(Segment, key=key)
    who = person(request)
    if why_not := _why_not(who, _reached(segment)):
        raise Forbidden(why_not)
    if request.method == "GET":
        return Visit(request, SegmentForm.held(segment), segment, segment.revision).show()
    given = Typed(request.POST)
    visit = Visit(
        request,
        SegmentForm.typed(given, key),
        segment,
        given.whole("revision", segment.revision),
        because=given.because(),
    )
    pressed = given.text("do")
    if pressed in ("review", ""):
        return _review(visit)
    if pressed == "ask":
        return _ask(visit)
    if pressed != "save":
        visit.news, visit.focus = visit.form.press(pressed)
        return visit.show()

    def make() -> Segment:
        document = visit.form.document(segment.conditions)
        segments.change(segment, document, by=who, because=visit.because, expected_revision=visit.revision)
        return segment

    return _act(visit, make, "Segment {0} is saved. Clients know within a second.")


@page
@require_POST
def delete(request: HttpRequest, key: str) -> HttpResponse:
    segment = get_object_or_404(Segment, key=key)
    because = posted.text(request, "because")
    if not because:
        raise Invalid.of("because", "a reason is needed")
    segments.delete(segment, by=person(request), because=because)
    messages.success(request, f"Segment {key} is deleted.")
    return posted.back(request, reverse("segments"))


@page
@require_POST
def restore(request: HttpRequest, key: str, number: int) -> HttpResponse:
    """An earlier revision again, as a new one; asked for where a protected environment would notice."""
    segment = get_object_or_404(Segment, key=key)
    kept = get_object_or_404(SegmentRevision, segment=key, number=number)
    if kept.document is None:
        raise Http404
    who, because = person(request), posted.text(request, "because")
    if any(config.environment.protected for config in _reached(segment)):
        document = {name: kept.document[name] for name in segments.FIELDS}
        opened = change_requests.open_segment(segment, document, by=who, because=because)
        messages.success(request, f"Change request {opened.pk} asks for it. Nothing has changed yet.")
        return redirect("change-request", opened.pk)
    made = segments.restore(key, number, by=who, because=because)
    messages.success(request, f"Segment {key} is as in revision {number} again: it is revision {made.revision}.")
    return posted.back(request, reverse("segment", args=[key]))


# --- How ----------------------------------------------------------------------------------------
def _review(visit: Visit) -> HttpResponse:
    assert visit.segment is not None
    document = visit.form.document(visit.segment.conditions)
    try:
        proposed = segments.proposed(visit.segment, document)
    except Invalid as error:
        return _fault(visit, error)
    if visit.revision != visit.segment.revision:
        visit.revision = visit.segment.revision
        visit.refused = (
            f"Somebody else has saved meanwhile: this is revision {visit.revision} now. What you typed is all here; "
            "below, it is compared with theirs, and saving puts it in its place."
        )
    visit.review = segment_forms.changes(visit.segment.document(), proposed)
    if visit.review:
        visit.previews = previews.of_segment(visit.segment, document, by=person(visit.request))
    visit.news = f"{len(visit.review)} change{'' if len(visit.review) == 1 else 's'} to look at"
    visit.focus = "review"
    return visit.show()


def _ask(visit: Visit) -> HttpResponse:
    """Open a change request with what stands in the form."""
    segment = visit.segment
    assert segment is not None
    if visit.revision != segment.revision:
        return _review(visit)
    document = visit.form.document(segment.conditions)
    try:
        opened = change_requests.open_segment(segment, document, by=person(visit.request), because=visit.because)
    except Invalid as error:
        return _fault(visit, Invalid({at.removeprefix("document."): said for at, said in error.errors.items()}))
    except Refused as error:
        visit.refused = str(error)
        return _review(visit)
    messages.success(visit.request, f"Change request {opened.pk} asks for it. Nothing has changed yet.")
    return typed.gone_to(visit.request, reverse("change-request", args=[opened.pk]))


def _act(visit: Visit, make: Any, words: str) -> HttpResponse:
    """Do it; what is wrong with it is said on the form, where everything typed still stands."""
    try:
        segment = make()
    except Invalid as error:
        return _fault(visit, error)
    except Stale:
        assert visit.segment is not None
        visit.segment.refresh_from_db()
        return _review(visit)
    except Refused as error:
        visit.refused = str(error)
        return visit.show()
    messages.success(visit.request, words.format(segment))
    return typed.gone_to(visit.request, reverse("segment", args=[segment.key]))


def _fault(visit: Visit, error: Invalid) -> HttpResponse:
    visit.form.place(error.errors)
    count = visit.form.count
    visit.news = f"{count} field{'' if count == 1 else 's'} need{'s' if count == 1 else ''} another look"
    visit.focus = "faults"
    return visit.show()


def _history(revisions: list[SegmentRevision]) -> list[tuple[SegmentRevision, list[Change]]]:
    """Each revision with what it changed, the newest first."""
    nothing = {**Segment().document(), "conditions": [], "included": [], "excluded": []}
    documents = [one.document or nothing for one in revisions]
    return [
        (one, segment_forms.changes(documents[n + 1] if n + 1 < len(documents) else nothing, documents[n]))
        for n, one in enumerate(revisions)
    ]


def _reached(segment: Segment) -> list[FlagConfig]:
    found = uses.configs_through(segment.key)
    return sorted(found, key=lambda one: (one.flag.key, one.environment.rank))


def _visible(who: User, configs: list[FlagConfig]) -> list[FlagConfig]:
    return [
        one
        for one in configs
        if permissions.can(who, "view", environment=one.environment, service=one.flag.service or permissions.ANY)
    ]


def _may_make(request: HttpRequest) -> bool:
    return permissions.can(person(request), "configure", environment=permissions.ANY, service=permissions.ANY)


def _why_not(who: User, reached: list[FlagConfig]) -> str:
    """Why this person may not change it; empty when he may."""
    for config in reached:
        if not permissions.can(who, "operate", environment=config.environment, service=config.flag.service):
            return f"It decides whom flag {config.flag} reaches in {config.environment}, which you may not operate."
    if reached or permissions.can(who, "configure", environment=permissions.ANY, service=permissions.ANY):
        return ""
    return "None of your roles may change segments."


def _length(name: str) -> Func:
    return Func(name, function="jsonb_array_length", output_field=IntegerField())
