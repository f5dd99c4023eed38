"""Flags by REST: definitions, and what they do in each environment."""

import time
from collections.abc import Mapping
from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from portal import permissions
from portal.drf import DoorSet
from portal.errors import Invalid
from portal.models import Environment, Service
from rollouts import snapshots
from rollouts.actions import flag_writes, flags, previews, rebucketing
from rollouts.api import flag_shapes as shapes
from rollouts.api import moments
from rollouts.api.contexts import LARGEST, fault_of, is_too_large
from rollouts.api.preconditions import etag, expected_revision
from rollouts.api.preview_shapes import FlagUsesShape, PreviewShape, shown_flag_uses, shown_preview
from rollouts.models import Flag, FlagConfig, FlagRevision
from rollouts.queries import explaining, history, usage, uses

IF_MATCH = OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, description="the ETag that you have seen")


class FlagFilter(filters.FilterSet):
    type = filters.ChoiceFilter(choices=Flag.Type.choices)
    purpose = filters.ChoiceFilter(choices=Flag.Purpose.choices)
    risk = filters.ChoiceFilter(choices=Flag.Risk.choices)
    service = filters.CharFilter(field_name="service__key")
    owner = filters.CharFilter()
    archived = filters.BooleanFilter(method="by_archived", label="false by default")
    tag = filters.CharFilter(method="by_tag", label="all of these, separated by commas")
    permanent = filters.BooleanFilter()
    expired = filters.BooleanFilter(method="by_expiry", label="whether its expiry date has passed")
    search = filters.CharFilter(method="by_text", label="in key, description or owner")
    stale = filters.BooleanFilter(method="by_use", label="whether it has had its day")

    class Meta:
        model = Flag
        fields = ("type", "purpose", "risk", "service", "owner")

    def by_archived(self, rows: "QuerySet[Flag]", name: str, value: bool) -> "QuerySet[Flag]":
        return rows.filter(archived_at__isnull=not value)

    def by_tag(self, rows: "QuerySet[Flag]", name: str, value: str) -> "QuerySet[Flag]":
        return rows.filter(tags__contains=[tag.strip() for tag in value.split(",")])

    def by_expiry(self, rows: "QuerySet[Flag]", name: str, value: bool) -> "QuerySet[Flag]":
        passed = Q(expires_at__lte=timezone.now())
        return rows.filter(passed) if value else rows.exclude(passed)

    def by_text(self, rows: "QuerySet[Flag]", name: str, value: str) -> "QuerySet[Flag]":
        return rows.saying(value)  # type: ignore[attr-defined]

    def by_use(self, rows: "QuerySet[Flag]", name: str, value: bool) -> "QuerySet[Flag]":
        """Chosen by the door, which knows whose environments are looked at."""
        return rows


class Flags(DoorSet):
    serializer_class = shapes.FlagShape

    @extend_schema(
        parameters=[
            OpenApiParameter("type", str, enum=Flag.Type.values),
            OpenApiParameter("purpose", str, enum=Flag.Purpose.values),
            OpenApiParameter("risk", str, enum=Flag.Risk.values),
            OpenApiParameter("service", str, description="the key of the owning service"),
            OpenApiParameter("owner", str),
            OpenApiParameter("archived", bool, description="false by default"),
            OpenApiParameter("tag", str, description="all of these, separated by commas"),
            OpenApiParameter("permanent", bool),
            OpenApiParameter("expired", bool, description="whether its expiry date has passed"),
            OpenApiParameter("search", str, description="in key, description or owner"),
            OpenApiParameter(
                "stale",
                bool,
                description="whether it has had its day: expired, long unused or long settled",
            ),
        ],
        responses=shapes.FlagShape(many=True),
    )
    def list(self, request: Request) -> Response:
        rows = _seen(self)
        chosen = FlagFilter(request.query_params, rows)
        if not chosen.is_valid():
            raise Invalid({name: " ".join(texts) for name, texts in chosen.errors.items()})
        for name in ("archived", "permanent", "expired", "stale"):
            if name in request.query_params and chosen.form.cleaned_data[name] is None:
                raise Invalid.of(name, "must be true or false")
        found = chosen.qs if "archived" in request.query_params else chosen.qs.filter(archived_at=None)
        places, wanted = _places(self), chosen.form.cleaned_data["stale"]
        if wanted is not None:
            stale = usage.stale(found, places, now=timezone.now())
            found = found.filter(pk__in=stale) if wanted else found.exclude(pk__in=stale)
        return self.page(found, shapes.FlagShape, places=places)

    @extend_schema(request=shapes.FlagCreate, responses={201: shapes.FlagShape})
    def create(self, request: Request) -> Response:
        given = _with_service(self, dict(self.body(shapes.FlagCreate)))
        flag = flags.create(given.pop("key"), by=self.by, **given)
        return _shown(self, flag, 201)

    @extend_schema(parameters=[moments.AT], responses=shapes.FlagShape)
    def retrieve(self, request: Request, key: str) -> Response:
        flag, at = _find(self, key), moments.asked(request)
        return (
            _shown(self, flag)
            if at is None
            else Response(shapes.flag_at(flag, _there(history.definition_at(flag, at))))
        )

    @extend_schema(parameters=[IF_MATCH], request=shapes.FlagRestore, responses=shapes.FlagShape)
    def restore(self, request: Request, key: str) -> Response:
        """An earlier revision of the definition becomes the current one, as a new revision."""
        flag = _find(self, key)
        expected = expected_revision(request, flag.revision)
        given = self.body(shapes.FlagRestore)
        flags.restore_definition(
            flag, given["revision"], by=self.by, because=given["because"], expected_revision=expected
        )
        return _shown(self, flag)

    @extend_schema(responses=FlagUsesShape)
    def uses(self, request: Request, key: str) -> Response:
        """What depends on the flag, what it depends on, and what is under way with it."""
        flag = _find(self, key)
        return Response(shown_flag_uses(flag.key, uses.of_flag(flag, self.by)))

    @extend_schema(parameters=[IF_MATCH], request=shapes.FlagChange, responses=shapes.FlagShape)
    def change(self, request: Request, key: str) -> Response:
        """A field left out keeps its value. Key, value type and salt never change."""
        flag = _find(self, key)
        expected = expected_revision(request, flag.revision)
        given = _with_service(self, dict(self.body(shapes.FlagChange)))
        because = given.pop("because", "")
        flags.change(flag, given, by=self.by, because=because, expected_revision=expected)
        return _shown(self, flag)

    @extend_schema(request=shapes.FlagBecause, responses=shapes.FlagShape)
    def archive(self, request: Request, key: str) -> Response:
        flag = _find(self, key)
        flags.archive(flag, by=self.by, because=self.body(shapes.FlagBecause)["because"])
        return _shown(self, flag)

    @extend_schema(request=shapes.FlagBecause, responses=shapes.FlagShape)
    def unarchive(self, request: Request, key: str) -> Response:
        """Into service again, as it was; refused when what its configs refer to is gone."""
        flag = _find(self, key)
        flags.unarchive(flag, by=self.by, because=self.body(shapes.FlagBecause)["because"])
        return _shown(self, flag)

    @extend_schema(
        parameters=[OpenApiParameter("environment", str, description="only of its config in this environment")],
        responses=shapes.RevisionShape(many=True),
    )
    def revisions(self, request: Request, key: str) -> Response:
        """Every write of the definition and of the configs that you may view, newest first."""
        rows = FlagRevision.objects.filter(flag=_find(self, key)).select_related("flag", "environment")
        wanted = request.query_params.get("environment")
        if wanted:
            rows = rows.filter(environment=_environment(self, wanted))
        seen = permissions.visible(self.by, Environment.objects.all(), environment="id", service=None)
        return self.page(rows.filter(Q(environment=None) | Q(environment__in=seen)), shapes.RevisionShape)


class Configs(DoorSet):
    serializer_class = shapes.ConfigShape

    @extend_schema(parameters=[moments.AT], responses=shapes.ConfigShape)
    def retrieve(self, request: Request, key: str, environment: str) -> Response:
        held, at = config_at(self, key, environment), moments.asked(request)
        if at is None:
            return _shown_config(held)
        return Response(shapes.config_at(held, _there(history.config_at(held.flag, held.environment, at))))

    @extend_schema(request=shapes.ConfigFields, responses=PreviewShape)
    def preview(self, request: Request, key: str, environment: str) -> Response:
        """What an edit would do, before it is saved: which of the contexts seen of late move to which variant."""
        held = config_at(self, key, environment)
        if not isinstance(request.data, Mapping):
            raise Invalid.of("", "the body must be a JSON object")
        given = {name: value for name, value in request.data.items() if name != "because"}
        return Response(shown_preview(previews.of_config(held.flag, held.environment, given)))

    @extend_schema(parameters=[IF_MATCH], request=shapes.ConfigWrite, responses=shapes.ConfigShape)
    def configure(self, request: Request, key: str, environment: str) -> Response:
        """A field left out keeps its value. Rules of a live deployment may be left out, not changed."""
        held = config_at(self, key, environment)
        expected = expected_revision(request, held.revision)
        if not isinstance(request.data, Mapping):
            raise Invalid.of("", "the body must be a JSON object")
        given = dict(request.data)
        because = given.pop("because", "")
        if not isinstance(because, str) or len(because) > 10_000:
            raise Invalid.of("because", "must be a text of at most 10000 characters")
        config = flags.configure(
            held.flag, held.environment, given, by=self.by, because=because, expected_revision=expected
        )
        return _shown_config(config)

    @extend_schema(request=shapes.FlagBecause, responses=shapes.ConfigShape)
    def kill(self, request: Request, key: str, environment: str) -> Response:
        """Everyone gets the off variant. A deployment that serves the flag pauses."""
        held = config_at(self, key, environment)
        because = self.body(shapes.FlagBecause)["because"]
        return _shown_config(flags.kill(held.flag, held.environment, by=self.by, because=because))

    @extend_schema(request=shapes.FlagBecause, responses=shapes.ConfigShape)
    def switch_on(self, request: Request, key: str, environment: str) -> Response:
        held = config_at(self, key, environment)
        because = self.body(shapes.FlagBecause)["because"]
        return _shown_config(flags.switch_on(held.flag, held.environment, by=self.by, because=because))

    @extend_schema(parameters=[IF_MATCH], request=shapes.FlagRestore, responses=shapes.ConfigShape)
    def restore(self, request: Request, key: str, environment: str) -> Response:
        """An earlier revision becomes the current one, as a new revision."""
        held = config_at(self, key, environment)
        expected = expected_revision(request, held.revision)
        given = self.body(shapes.FlagRestore)
        config = flags.restore(
            held.flag, held.environment, given["revision"], by=self.by, because=given["because"],
            expected_revision=expected,
        )  # fmt: skip
        return _shown_config(config)

    @extend_schema(responses=shapes.SwitchShape)
    def rebucketing(self, request: Request, key: str, environment: str) -> Response:
        """How many of so many made-up units a switch to the portal's own bucketing would move."""
        switch = rebucketing.preview(config_at(self, key, environment)) or rebucketing.Switch((), 0)
        return Response(shapes.SwitchShape(switch).data)

    @extend_schema(parameters=[IF_MATCH], request=shapes.FlagBecause, responses=shapes.ConfigShape)
    def rebucket(self, request: Request, key: str, environment: str) -> Response:
        """The portal's own bucketing from now on: the same shares, other users."""
        held = config_at(self, key, environment)
        expected = expected_revision(request, held.revision)
        because = self.body(shapes.FlagBecause)["because"]
        config = rebucketing.rebucket(
            held.flag, held.environment, by=self.by, because=because, expected_revision=expected
        )
        return _shown_config(config)

    @extend_schema(
        parameters=[
            OpenApiParameter("targetingKey", str, description="the unit; every other parameter is an attribute"),
        ],
        responses=shapes.ExplainShape,
    )
    def explain_unit(self, request: Request, key: str, environment: str) -> Response:
        """What a unit gets, and why, step by step. Attributes are texts here; POST takes a whole context."""
        held = config_at(self, key, environment)
        context = dict(request.query_params.items())
        fault = fault_of(context)
        if fault:
            raise Invalid.of(*fault)
        return _explained(held, context)

    @extend_schema(request=shapes.ExplainAsk, responses=shapes.ExplainShape)
    def explain(self, request: Request, key: str, environment: str) -> Response:
        """What a context gets, and why, step by step."""
        held = config_at(self, key, environment)
        context = self.body(shapes.ExplainAsk)["context"]
        fault = fault_of(context)
        if fault:
            raise Invalid.of(*fault)
        if is_too_large(context):
            raise Invalid.of("context", f"larger than {LARGEST} bytes")
        return _explained(held, context)


# --- Finding and showing ------------------------------------------------------------------------
def _seen(door: DoorSet) -> "QuerySet[Flag]":
    rows = Flag.objects.select_related("service")
    return permissions.visible(door.by, rows, environment=None, service="service")


def _find(door: DoorSet, key: str) -> Flag:
    return get_object_or_404(_seen(door), key=key)


def _there(state: history.State | None) -> history.State:
    if state is None:
        raise Http404
    return state


def _environment(door: DoorSet, key: str) -> Environment:
    seen = permissions.visible(door.by, Environment.objects.all(), environment="id", service=None)
    return get_object_or_404(seen, key=key)


def config_at(door: DoorSet, key: str, environment: str) -> FlagConfig:
    """What the flag does there; 404 where the caller may not view both."""
    flag, place = _find(door, key), _environment(door, environment)
    permissions.require(door.by, "view", environment=place, service=flag.service or permissions.ANY)
    return flag_writes.config_of(flag, place)


def _with_service(door: DoorSet, given: dict[str, Any]) -> dict[str, Any]:
    """The body with the owning service itself in the place of its key."""
    if given.get("service") is not None:
        seen = permissions.visible(door.by, Service.objects.all(), environment=None, service="id")
        service = seen.filter(key=given["service"]).first()
        if service is None:
            raise Invalid.of("service", f"there is no service {given['service']}")
        given["service"] = service
    return given


def _shown(door: DoorSet, flag: Flag, status: int = 200) -> Response:
    shown = shapes.FlagShape(flag, context={"places": _places(door)})
    return Response(shown.data, status=status, headers=etag(flag.revision))


def _places(door: DoorSet) -> list[Environment]:
    """The environments in whose use of flags the caller may look."""
    return list(permissions.visible(door.by, Environment.objects.all(), environment="id", service=None))


def _shown_config(config: FlagConfig) -> Response:
    return Response(shapes.shown_config(config), headers=etag(config.revision))


def _explained(config: FlagConfig, context: dict[str, Any]) -> Response:
    snapshot = snapshots.fresh(config.environment, config.flag.key)
    found = explaining.explain(snapshot, config.flag.key, context, now=time.time())
    return Response(found.as_dict() | {"revision": config.revision})
