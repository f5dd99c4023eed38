"""Making a flag, saying what it is, and taking it out of service or back: pages around the definition."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from portal import htmx, permissions, posted
from portal.access import page, person
from portal.errors import Invalid, Refused, Stale
from portal.models import Service
from rollouts.actions import flags
from rollouts.models import Flag
from rollouts.views import typed
from rollouts.views.definition_forms import TYPES, DefinitionForm
from rollouts.views.flags import visible
from rollouts.views.typed import Typed


@dataclass(slots=True)
class Visit:
    """One look at the form."""

    request: HttpRequest
    form: DefinitionForm
    flag: Flag | None = None
    revision: int = 0  # that the person has seen
    news: str = ""
    focus: str = ""
    refused: str = ""

    def show(self) -> HttpResponse:
        address = reverse("flag-definition", args=[self.flag.key]) if self.flag else reverse("flag-new")
        return htmx.render(
            self.request,
            "rollouts/flags/define.html",
            "_definition",
            visit=self,
            form=self.form,
            flag=self.flag,
            services=_services(self.request),
            purposes=Flag.Purpose.values,
            risks=Flag.Risk.values,
            types=TYPES,
            address=address if self.flag else f"{address}?type={self.form.type}",
        )


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """First the type, in the address; then what this type needs."""
    permissions.require(person(request), "configure", environment=permissions.ANY, service=permissions.ANY)
    kind = request.GET.get("type", "")
    if kind not in Flag.Type.values:
        return htmx.render(request, "rollouts/flags/new.html", types=TYPES)
    if request.method == "GET":
        return Visit(request, DefinitionForm.new(kind), focus="key").show()
    given = Typed(request.POST)
    form = DefinitionForm.typed(given, kind=kind, key=given.text("key"), value_type=given.text("value_type"))
    visit = Visit(request, form)
    pressed = given.text("do")
    if pressed not in ("save", ""):
        visit.news, visit.focus = form.press(pressed)
        return visit.show()

    def make() -> Flag:
        document = form.document()
        return flags.create(
            form.key, value_type=form.value_type, service=_service(visit), by=person(request), because=form.because,
            **document,
        )  # fmt: skip

    return _act(visit, make, "Flag {0} is there, and off everywhere. Now say what it does in an environment.")


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, key: str) -> HttpResponse:
    """The definition of a flag that is there: not its key, and not the type of its values."""
    flag = get_object_or_404(visible(request), key=key)
    permissions.require(person(request), "configure", environment=permissions.ANY, service=flag.service)
    if flag.archived_at is not None:
        raise Refused(f"flag {flag} is archived")
    if request.method == "GET":
        return Visit(request, DefinitionForm.held(flag), flag, flag.revision).show()
    given = Typed(request.POST)
    kind = given.text("type")
    form = DefinitionForm.typed(
        given, kind=kind if kind in Flag.Type.values else flag.type, key=flag.key, value_type=flag.value_type
    )
    visit = Visit(request, form, flag, given.whole("revision", flag.revision))
    pressed = given.text("do")
    if pressed not in ("save", ""):
        visit.news, visit.focus = form.press(pressed)
        return visit.show()

    def make() -> Flag:
        changes = form.document(flag)
        changes["service"] = _service(visit)
        flags.change(flag, changes, by=person(request), because=form.because, expected_revision=visit.revision)
        return flag

    return _act(visit, make, "Flag {0} is defined like that now.")


@page
@require_POST
def unarchive(request: HttpRequest, key: str) -> HttpResponse:
    """Into service again."""
    flag = get_object_or_404(visible(request), key=key)
    because = posted.text(request, "because")
    if not because:
        raise Invalid.of("because", "a reason is needed")
    flags.unarchive(flag, by=person(request), because=because)
    messages.success(request, f"Flag {flag} is in service again; where it is protected, it is off.")
    return posted.back(request, reverse("flag", args=[key]))


@page
@require_POST
def archive(request: HttpRequest, key: str) -> HttpResponse:
    """Out of service: clients no longer find it."""
    flag = get_object_or_404(visible(request), key=key)
    because = posted.text(request, "because")
    if not because:
        raise Invalid.of("because", "a reason is needed")
    flags.archive(flag, by=person(request), because=because)
    messages.success(request, f"Flag {flag} is archived: clients no longer find it.")
    return posted.back(request, reverse("flag", args=[key]))


def _act(visit: Visit, make: Any, words: str) -> HttpResponse:
    """Do it; what is wrong with it is said on the form, where everything typed still stands."""
    try:
        flag = make()
    except Invalid as error:
        visit.form.place(error.errors)
        visit.focus = "faults"
        count = visit.form.count
        visit.news = f"{count} field{'' if count == 1 else 's'} need{'s' if count == 1 else ''} another look"
        return visit.show()
    except Stale:
        assert visit.flag is not None
        visit.flag.refresh_from_db()
        visit.revision = visit.flag.revision
        visit.refused = (
            f"Somebody else has changed the definition meanwhile: it is revision {visit.revision} now. "
            "What you typed is all here; saving again puts it in place of theirs."
        )
        return visit.show()
    except Refused as error:
        visit.refused = str(error)
        return visit.show()
    messages.success(visit.request, words.format(flag))
    return typed.gone_to(visit.request, reverse("flag", args=[flag.key]))


def _services(request: HttpRequest) -> list[Service]:
    """Those for which this person may define flags."""
    who = person(request)
    return [
        one
        for one in Service.objects.all()
        if permissions.can(who, "configure", environment=permissions.ANY, service=one)
    ]


def _service(visit: Visit) -> Service | None:
    key = visit.form.service
    if not key:
        return None
    found = Service.objects.filter(key=key).first()
    if found is None:
        raise Invalid.of("service", f"there is no service {key}")
    return found
