"""The editor of what a flag does in an environment: typed, told in words, then saved. Nothing typed is ever lost."""

from dataclasses import dataclass
from typing import Any
from zoneinfo import available_timezones

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from portal import htmx, permissions
from portal.access import page, person
from portal.errors import Invalid, Refused, Stale
from rollouts.actions import change_requests, flag_writes, flags, previews, references
from rollouts.actions.previews import Preview
from rollouts.engine.types import TARGETING_KEY
from rollouts.models import ContextSample, Flag, FlagConfig, FlagRevision, Segment
from rollouts.views import config_changes, typed
from rollouts.views.config_changes import Change
from rollouts.views.config_forms import ConfigForm
from rollouts.views.flags import flag_and_place
from rollouts.views.typed import Typed

# What each type of flag is mostly about; the rest of the form waits behind a line.
SIMPLE: dict[str, frozenset[str]] = {
    Flag.Type.BOOLEAN: frozenset({"else"}),
    Flag.Type.PERCENTAGE: frozenset({"else"}),
    Flag.Type.AB_TEST: frozenset({"else"}),
    Flag.Type.USER_GROUP: frozenset({"units", "rules", "else"}),
    Flag.Type.TIME_BASED: frozenset({"window", "else"}),
}
MOST_SUGGESTED = 500
LOOKED_AT = 50  # sampled contexts, for the names of their attributes


# The parts of the form in the order in which the engine asks them.
PARTS = ("window", "needs", "units", "rules", "else")


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the form."""

    name: str
    open: bool

    @property
    def template(self) -> str:
        return f"rollouts/flags/_part_{self.name}.html"


@dataclass(slots=True)
class Review:
    """What saving would do."""

    changes: list[Change]
    preview: Preview | None
    needs_approval: bool


@dataclass(slots=True)
class Visit:
    """One look at the editor: whose, of what, and what has happened in it."""

    request: HttpRequest
    config: FlagConfig
    form: ConfigForm
    revision: int  # that the person has seen
    because: str = ""
    news: str = ""
    focus: str = ""
    review: Review | None = None
    theirs: list[Change] | None = None
    refused: str = ""

    def show(self) -> HttpResponse:
        self.form.number_rules()
        flag, environment = self.config.flag, self.config.environment
        first, then = self._parts()
        return htmx.render(
            self.request,
            "rollouts/flags/edit.html",
            "_editor",
            visit=self,
            flag=flag,
            environment=environment,
            form=self.form,
            first=first,
            then=then,
            asked="asked before it, one after the other." if first else "Asked one after the other: the first decides.",
            segments=Segment.objects.values_list("key", flat=True)[:MOST_SUGGESTED] if self.review is None else [],
            others=_others(self) if self.review is None else [],
            attributes=_attributes(self) if self.review is None else [],
            zones=sorted(available_timezones()) if self.form.ramps else [],
            wide=flag.type == Flag.Type.PERCENTAGE,
            address=reverse("flag-edit", args=[flag.key, environment.key]),
        )

    def _parts(self) -> tuple[list[Part], list[Part]]:
        """What this type of flag is about stands first, as long as nothing else is said."""
        simple, used = SIMPLE[self.config.flag.type], self.form.used()
        parts = [Part(name, name in simple or name in used) for name in PARTS]
        if used - simple:
            return [], parts
        return [one for one in parts if one.name in simple], [one for one in parts if one.name not in simple]


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, key: str, environment: str) -> HttpResponse:
    """GET opens it on what is there; each button of it posts the whole form."""
    flag, place = flag_and_place(request, key, environment)
    permissions.require(person(request), "operate", environment=place, service=flag.service)
    if flag.archived_at is not None:
        raise Refused(f"flag {flag} is archived")
    config = flag_writes.config_of(flag, place)
    if request.method == "GET":
        return Visit(request, config, ConfigForm.held(config), config.revision).show()
    given = Typed(request.POST)
    visit = Visit(
        request,
        config,
        ConfigForm.typed(flag, given),
        given.whole("revision", config.revision),
        because=given.because(),
    )
    pressed = given.text("do")
    if pressed == "save":
        return _save(visit)
    if pressed == "ask":
        return _ask(visit)
    if pressed in ("review", ""):
        return _review(visit)
    visit.news, visit.focus = visit.form.press(pressed)
    return visit.show()


def _review(visit: Visit) -> HttpResponse:
    """Tell what saving would do; a fault stands beside its field."""
    _notice(visit)
    document = _proposed(visit)
    if document is not None:
        changes = config_changes.between(visit.config.document(), document, is_new=visit.config.is_new)
        preview = None
        if changes:
            given = visit.form.document(visit.config)
            preview = previews.of_config(visit.config.flag, visit.config.environment, given)
        visit.review = Review(changes, preview, _needs_approval(visit.config, document))
        visit.news = f"{len(changes)} changes to look at" if len(changes) != 1 else "1 change to look at"
        visit.focus = "review"
    return visit.show()


def _save(visit: Visit) -> HttpResponse:
    config, form = visit.config, visit.form
    document = form.document(config)
    try:
        if faults := form.own_faults():
            raise Invalid(faults)
        made = flags.configure(
            config.flag,
            config.environment,
            document,
            by=person(visit.request),
            because=visit.because,
            expected_revision=visit.revision,
        )
    except Stale:
        visit.config = flag_writes.config_of(config.flag, config.environment)
        return _review(visit)
    except Invalid as error:
        form.place(error.errors)
        return _fault(visit)
    except Refused as error:
        visit.refused = str(error)
        return _review(visit)
    if made.revision == visit.revision:
        words = f"Nothing was changed: flag {config.flag} did that in {config.environment} already."
    else:
        words = f"Saved: it is revision {made.revision} in {config.environment}. Clients know within a second."
    messages.success(visit.request, words)
    return typed.gone_to(visit.request, reverse("flag", args=[config.flag.key]))


def _ask(visit: Visit) -> HttpResponse:
    """Open a change request with what stands in the form."""
    config, form = visit.config, visit.form
    if visit.revision != config.revision:
        return _review(visit)
    try:
        if faults := form.own_faults():
            raise Invalid(faults)
        opened = change_requests.open(
            config.flag,
            config.environment,
            form.document(config),
            by=person(visit.request),
            because=visit.because,
        )
    except Invalid as error:
        form.place({at.removeprefix("document."): said for at, said in error.errors.items()})
        return _fault(visit)
    except Refused as error:
        visit.refused = str(error)
        return _review(visit)
    messages.success(visit.request, f"Change request {opened.pk} asks for it. Nothing has changed yet.")
    return typed.gone_to(visit.request, reverse("change-request", args=[opened.pk]))


def _proposed(visit: Visit) -> dict[str, Any] | None:
    """The config as it would be stored; None when something typed is wrong, which is then said beside it."""
    config, form = visit.config, visit.form
    given, faults = form.document(config), form.own_faults()
    document = None
    try:
        document, _ = flags.proposed(config, given)
        references.check_config(config.flag, config.environment, document)
    except Invalid as error:
        faults = error.errors | faults
    form.place(faults)
    if faults:
        _fault(visit)
        return None
    return document


def _needs_approval(config: FlagConfig, document: dict[str, Any]) -> bool:
    """Whether somebody else has to agree. Switching it off is always possible."""
    if not config.environment.protected:
        return False
    only_off = not config.is_new and config.enabled and {**document, "enabled": True} == config.document()
    return not only_off


def _fault(visit: Visit) -> HttpResponse:
    count = visit.form.count
    visit.news = f"{count} field{'' if count == 1 else 's'} need{'s' if count == 1 else ''} another look"
    visit.focus = "faults"
    return visit.show()


def _notice(visit: Visit) -> None:
    """Somebody else was quicker: say what they changed, and go on from there."""
    config = visit.config
    if visit.revision == config.revision:
        return
    kept = FlagRevision.objects.filter(flag=config.flag, environment=config.environment, number=visit.revision).first()
    before = kept.document if kept else {**config.document(), "enabled": False, "rules": []}
    visit.theirs = config_changes.between(before, config.document(), is_new=kept is None)
    visit.revision = config.revision


def _others(visit: Visit) -> list[tuple[str, str]]:
    """The flags that may be a prerequisite, with their variants."""
    rows = permissions.visible(person(visit.request), Flag.objects.live(), environment=None)
    found = rows.exclude(pk=visit.config.flag_id).values_list("key", "variants")[:MOST_SUGGESTED]
    return [(key, ", ".join(str(one["key"]) for one in variants)) for key, variants in found]


def _attributes(visit: Visit) -> list[str]:
    """What contexts seen here have."""
    seen = ContextSample.objects.filter(environment=visit.config.environment).values_list("context", flat=True)
    names = {name for context in seen[:LOOKED_AT] for name in context}
    return sorted(names - {TARGETING_KEY})
