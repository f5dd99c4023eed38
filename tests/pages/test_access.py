"""Who may open which page. A page that this file does not know fails it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from feedback.models import Entry
from monitoring.models import (
    ActionItem,
    Alert,
    Channel,
    ErrorGroup,
    IncidentAttachment,
    MaintenanceWindow,
    MetricSource,
    OutboxMessage,
    PostMortem,
    ResponseRun,
    Rota,
    RotaOverride,
    Silence,
    Slo,
    Threshold,
)
from portal.models import AuditEntry, User
from rollouts.models import Deployment, Flag, Segment
from tests import make
from tests.pages import seats
from tests.pages.world import World, world

pytestmark = pytest.mark.django_db

PAGES = ("portal.pages", "rollouts.views", "monitoring.views", "feedback.views")
JOIN = "rollouts.views.join"  # opened by a signed link, without a seat: its own tests knock
STATUS = "monitoring.views.statuspage"  # for everybody
DEMO = "portal.pages.demo"  # is there only while the demo is: its own tests knock

# An address of a channel may be a secret itself: who may not configure does not see them.
SECRET = ("channels", "dead-letters")


@dataclass(frozen=True, slots=True)
class Door:
    """One page: its name, and how it is opened."""

    name: str
    args: tuple[object, ...]
    posts: bool = False
    # A form: whoever may not change the thing does not see it either.
    edits: bool = False

    @property
    def address(self) -> str:
        return reverse(self.name, args=self.args)

    def knock(self, client: Client) -> int:
        answer = client.post(self.address, {"because": "why not"}) if self.posts else client.get(self.address)
        return answer.status_code


def _doors(made: World) -> list[Door]:
    deployment, incident = made.deployments[0].pk, made.incidents[0].pk
    alert = Alert.objects.exclude(environment=None).order_by("pk")[0].pk
    threshold = Threshold.objects.active().filter(owner="", members=[]).order_by("pk")[0].pk
    over = PostMortem.objects.order_by("pk")[0].incident_id
    run = ResponseRun.objects.order_by("pk")[0]
    attachment = IncidentAttachment.objects.order_by("pk")[0].pk
    source = MetricSource.objects.order_by("pk")[0].pk
    error = ErrorGroup.objects.order_by("pk")[0].pk
    flag, place, segment = made.flags[0].key, made.environment.key, Segment.objects.order_by("pk")[0].key
    return [
        Door("home", ()),
        Door("home-part", ("running",)),
        Door("banner", ()),
        Door("deployments", ()),
        Door("deployment", (deployment,)),
        Door("deployment-frame", (deployment,)),
        Door("deployment-part", (deployment, "state")),
        Door("deployment-vote", (deployment,), posts=True),
        Door("deployment-press", (deployment, "roll_back"), posts=True),
        Door("change-requests", ()),
        Door("change-request", (made.requests[0].pk,)),
        Door("change-request-impact", (made.requests[0].pk,)),
        *(
            Door(f"change-request-{name}", (made.requests[0].pk,), posts=True)
            for name in ("vote", "edit", "schedule", "rebase")
        ),
        Door("change-request-press", (made.requests[0].pk, "apply"), posts=True),
        Door("flags", ()),
        Door("flag", (flag,)),
        Door("flag-why", (flag,)),
        Door("flag-use-frame", (flag, place)),
        Door("playground", ()),
        Door("playground-answers", (), posts=True),
        Door("flag-connect", (flag,)),
        Door("flag-new", (), edits=True),
        Door("flag-definition", (flag,), edits=True),
        Door("flag-edit", (flag, place), edits=True),
        Door("flag-archive", (flag,), posts=True),
        Door("flag-unarchive", (flag,), posts=True),
        Door("segments", ()),
        Door("segment", (segment,)),
        Door("segment-new", (), edits=True),
        Door("segment-edit", (segment,), edits=True),
        Door("segment-delete", (segment,), posts=True),
        Door("segment-restore", (segment, 1), posts=True),
        Door("flag-switch", (flag, place, "off"), posts=True),
        Door("flag-restore", (flag, place, 1), posts=True),
        Door("flag-rebucket", (flag, place), posts=True),
        Door("imports", ()),
        Door("import-preview", (), posts=True),
        Door("import-write", (), posts=True),
        Door("feedback", ()),
        Door("entry", (Entry.objects.order_by("pk")[0].pk,)),
        Door("release", (made.releases[0].pk,)),
        Door("incidents", ()),
        Door("incident", (incident,)),
        Door("incident-part", (incident, "state")),
        Door("incident-press", (incident, "resolve"), posts=True),
        Door("rejections", ()),
        Door("incident-figures", ()),
        Door("incident-attachment", (over, attachment)),
        Door("incident-confirm", (run.incident_id, run.pk), posts=True),
        Door("post-mortem", (over,)),
        Door("post-mortem-press", (over, "publish"), posts=True),
        Door("action-item-add", (over,), posts=True),
        Door("action-items", ()),
        Door("action-item-end", (ActionItem.objects.order_by("pk")[0].pk, "done"), posts=True),
        Door("my-notifications", ()),
        Door("my-notifications-save", (), posts=True),
        Door("on-call", ()),
        Door("on-call-stand-in", (Rota.objects.order_by("pk")[0].key,), posts=True),
        Door("on-call-take-back", (RotaOverride.objects.order_by("pk")[0].pk,), posts=True),
        Door("alerts", ()),
        Door("alert-mark", (alert, "mark-false"), posts=True),
        Door("errors", ()),
        Door("error", (error,)),
        Door("error-press", (error, "resolve"), posts=True),
        Door("thresholds", ()),
        Door("threshold", (threshold,)),
        Door("threshold-new", (), edits=True),
        Door("threshold-edit", (threshold,), posts=True),
        Door("threshold-remove", (threshold,), posts=True),
        Door("silences", ()),
        Door("silence-new", (), posts=True),
        Door("silence-end", (Silence.objects.order_by("pk")[0].pk,), posts=True),
        Door("maintenance-new", (), posts=True),
        Door("maintenance-cancel", (MaintenanceWindow.objects.order_by("pk")[0].pk,), posts=True),
        Door("library", ()),
        Door("library-take", (), posts=True),
        Door("browsers", ()),
        Door("browsers-connect", ()),
        Door("browsers-of", ("watched", place)),
        Door("slos", ()),
        Door("slo", (Slo.objects.order_by("pk")[0].key,)),
        Door("channels", ()),
        Door("channel-test", (Channel.objects.order_by("pk")[0].pk,), posts=True),
        Door("dead-letters", ()),
        Door("dead-letter-resend", (OutboxMessage.objects.filter(state="dead")[0].pk,), posts=True),
        Door("sources", ()),
        *(Door(name, (source,)) for name in ("source", "source-state", "source-frame")),
        Door("source-try", (source,), posts=True),
        Door("source-press", (source, "pull"), posts=True),
    ]


def _named(patterns: list[URLPattern | URLResolver]) -> Iterator[str]:
    for one in patterns:
        if isinstance(one, URLResolver):
            yield from _named(one.url_patterns)
        elif one.callback.__module__.startswith(PAGES) and one.callback.__module__ not in (DEMO, JOIN, STATUS):
            yield str(one.name)


def test_every_page_is_tried_here() -> None:
    assert sorted(_named(get_resolver().url_patterns)) == sorted(door.name for door in _doors(world(1)))


def test_who_is_not_signed_in_is_asked_to() -> None:
    for door in _doors(world(1)):
        answer = Client().post(door.address) if door.posts else Client().get(door.address)
        assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, reverse("login")), door


def test_who_has_no_role_sees_nothing_and_changes_nothing() -> None:
    made = world(1)
    nobody = seats.seat(make.person("nobody"))
    before = AuditEntry.objects.count()
    assert {door.name: status for door in _doors(made) if (status := door.knock(nobody)) not in (403, 404)} == {}
    assert AuditEntry.objects.count() == before


def test_a_role_that_was_taken_away_opens_nothing_any_more() -> None:
    person = make.person("vic", "viewer")
    client = seats.seat(person)
    assert client.get(reverse("home")).status_code == 200
    person.grants.all().delete()
    assert client.get(reverse("home")).status_code == 403


@pytest.fixture
def elsewhere() -> User:
    """Somebody with every role, of another service in another environment."""
    place, service = make.environment("lab"), make.service("experiments")
    roles = ("viewer", "operator", "approver", "captain", "owner")
    return make.person("eve", *roles, environment=place, service=service)


def test_what_one_may_not_see_is_not_there(elsewhere: User) -> None:
    made = world(1)
    eve = seats.seat(elsewhere)
    # A segment is nobody's: whoever has a role may look at it.
    # Nor is a rota: whoever operates somewhere may swap.
    swaps = ("on-call-stand-in", "on-call-take-back")
    # A segment is nobody's: whoever has a role may look at it. So is a channel for who may configure.
    nobodys = ("segment", "segment-edit", "segment-delete", "segment-restore", "channel-test", "dead-letter-resend")
    common = ("home-part", *nobodys, *swaps)
    particular = [door for door in _doors(made) if door.args and door.name not in common]
    assert {door.name: status for door in particular if (status := door.knock(eve)) != 404} == {}
    for name in ("home", "deployments", "incidents", "flags"):
        shown = eve.get(reverse(name), {"show": "all"}).content.decode()
        hidden = (str(made.releases[0].version), made.incidents[0].title, made.flags[0].key)
        assert not [text for text in hidden if f">{text}" in shown], name


def test_a_viewer_sees_everything_and_changes_nothing() -> None:
    made = world(1)
    viewer = seats.seat(make.person("vic", "viewer"))
    before = AuditEntry.objects.count()
    statuses = {door.name: door.knock(viewer) for door in _doors(made)}
    assert {name for name, status in statuses.items() if status == 200} == {
        door.name for door in _doors(made) if not (door.posts or door.edits or door.name in SECRET)
    }
    assert set(statuses.values()) == {200, 400, 403}
    assert AuditEntry.objects.count() == before


def test_an_operator_of_one_environment_switches_no_flag_in_another() -> None:
    flag = make.flag("new-checkout", on_in=[make.environment(), make.production()])
    operator = seats.seat(make.person("olu", "operator", environment=make.environment()))
    assert operator.get(reverse("flag", args=[flag.key])).content.decode().count("place-production") == 0
    address = reverse("flag-switch", args=[flag.key, "production", "off"])
    assert operator.post(address, {"because": "curious"}).status_code == 404
    assert Flag.objects.get().configs.get(environment__key="production").enabled


def test_pages_are_read_with_get_and_buttons_pressed_with_post() -> None:
    made = world(1)
    captain = seats.captain()
    for door in [one for one in _doors(made) if not one.edits]:
        answer = captain.get(door.address) if door.posts else captain.post(door.address)
        assert answer.status_code == 405, door
    assert Deployment.objects.get(pk=made.deployments[0].pk).live
