"""Flags as a file of environment variables, for applications that read such at their start."""

import hashlib
import time
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from portal import permissions
from portal.audit import Actor
from portal.drf import Door, Serializer
from portal.errors import Invalid
from portal.models import ApiKey, Environment
from rollouts import snapshots
from rollouts.actions import variable_names
from rollouts.api.contexts import fault_of
from rollouts.engine import dotenv, reading
from rollouts.engine.dotenv import Naming
from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import TARGETING_KEY, Snapshot
from rollouts.engine.unitless import without_unit
from rollouts.models import Flag, VariableNames

KINDS = ("dotenv", "sh")
GIVEN = {
    "prefix": "instead of the environment's own",
    "suffix": "of switches, instead of the environment's own",
    "value_suffix": "of flags of other types, instead of the environment's own",
    "map": "`flag:NAME`, several with commas: called otherwise; `flag:` leaves the flag out",
    TARGETING_KEY: "decide for this unit, so that no flag is left out for want of one",
    "context": "decide for this context, a JSON object",
    "format": "`dotenv`: as shells and the usual libraries read it alike, the default; `sh`: for shells alone",
}
QUERY = [
    OpenApiParameter(name, str, description=words, **({"enum": list(KINDS)} if name == "format" else {}))  # type: ignore[arg-type]
    for name, words in GIVEN.items()
]
ANSWERS = {
    (200, "text/plain"): OpenApiResponse(str, description="`NAME=value` lines, with comments"),
    304: OpenApiResponse(description="as If-None-Match has it"),
}


class EvaluateOrRead(BasePermission):
    """Which environment it may be, the door asks."""

    def has_permission(self, request: Request, view: Any) -> bool:
        by: Any = request.user
        if by is None:
            return False
        if not _evaluates(by):
            permissions.require(by, "view", environment=permissions.ANY, service=permissions.ANY)
        return True


class Dotenv(Door):
    permission_classes = (EvaluateOrRead,)
    serializer_class = None

    @extend_schema(
        operation_id="environments_dotenv_retrieve",
        parameters=[*QUERY, OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER)],
        responses=ANSWERS,
    )
    def get(self, request: Request, key: str) -> HttpResponse:
        """`FEATURE_NEW_CHECKOUT_ENABLED=true` for every flag that is the same for everybody; the others are named."""
        return _answer(request, self.by, key)


class DotenvBare(Dotenv):
    @extend_schema(
        operation_id="environments_dotenv_retrieve_bare",
        parameters=[*QUERY, OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER)],
        responses=ANSWERS,
    )
    def get(self, request: Request, key: str) -> HttpResponse:
        """The same without the slash at the end."""
        return _answer(request, self.by, key)


class NamesBody(Serializer):
    prefix = serializers.CharField(max_length=100, required=False, allow_blank=True, help_text="FEATURE_ by default")
    suffix = serializers.CharField(max_length=100, required=False, allow_blank=True, help_text="of switches: _ENABLED")
    value_suffix = serializers.CharField(max_length=100, required=False, allow_blank=True, help_text="of other types")
    names = serializers.DictField(
        child=serializers.CharField(max_length=255, allow_null=True), required=False, help_text="flag: NAME, or null"
    )


class NamesShape(serializers.ModelSerializer[VariableNames]):
    names = serializers.DictField(child=serializers.CharField(allow_null=True))

    class Meta:
        model = VariableNames
        fields = ("prefix", "suffix", "value_suffix", "names")


class Names(Door):
    @extend_schema(responses=NamesShape)
    def get(self, request: Request, key: str) -> Response:
        """How the variables of this environment are called."""
        return Response(NamesShape(variable_names.of(_seen(self.by, key))).data)

    @extend_schema(request=NamesBody, responses=NamesShape)
    def put(self, request: Request, key: str) -> Response:
        """A field left out keeps its value."""
        made = variable_names.change(_seen(self.by, key), self.body(NamesBody), by=self.by)
        return Response(NamesShape(made).data)


# --- Who sees what ------------------------------------------------------------------------------
def _evaluates(by: Actor) -> bool:
    return isinstance(by, ApiKey) and ApiKey.Scope.EVALUATE in by.scopes


def _seen(by: Actor, key: str) -> Environment:
    """The environment, if this actor may read or evaluate it; 404 otherwise."""
    found = Environment.objects.filter(key=key).first() if reading.storable(key) else None
    if found is None:
        raise Http404
    reads = permissions.can(by, "view", environment=found, service=permissions.ANY)
    if not reads and not (isinstance(by, ApiKey) and _evaluates(by) and _covers(by, found)):
        raise Http404
    return found


def _covers(key: ApiKey, environment: Environment) -> bool:
    return key.all_environments or key.environments.filter(pk=environment.pk).exists()


def _flags(by: Actor, environment: Environment) -> "QuerySet[Flag]":
    rows = Flag.objects.live()
    if isinstance(by, ApiKey):
        return rows if by.all_services else rows.filter(Q(service=None) | Q(service__in=by.services.all()))
    return permissions.visible(by, rows, environment=None, service="service")


# --- Answering ----------------------------------------------------------------------------------
def _answer(request: Request, by: Actor, key: str) -> HttpResponse:
    environment = _seen(by, key)
    asked = request.query_params
    faults = reading.Faults()
    for name in asked:
        if name not in GIVEN:
            faults.add(name, f"unknown parameter: choose from {', '.join(GIVEN)}")
        elif not reading.storable(asked[name]):
            faults.add(name, "may not contain NUL or half characters")
    kind = asked.get("format", KINDS[0])
    if kind not in KINDS:
        faults.add("format", f"choose from {', '.join(KINDS)}")
    if faults:
        raise Invalid(faults)
    naming = _naming(environment, asked, faults)
    context = _context(asked, faults)
    if faults:
        raise Invalid(faults)
    flags = dict(_flags(by, environment).order_by("key").values_list("key", "value_type"))
    named = variable_names.named(flags, naming)
    told = _lines(snapshots.whole(environment), named, context, shell=kind == "sh")
    body = "\n".join(
        [dotenv.comment(f"Flags of {environment}. They hold from the start of what reads them."), *told, ""]
    )
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization, X-API-Key, Cookie"}
    held = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
    if tag in held or "*" in held:
        return HttpResponse(status=304, headers=headers)
    return HttpResponse(body, content_type="text/plain; charset=utf-8", headers=headers)


def _naming(environment: Environment, asked: Any, faults: reading.Faults) -> Naming:
    given: dict[str, Any] = {name: asked[name] for name in ("prefix", "suffix", "value_suffix") if name in asked}
    names: dict[str, str | None] = {}
    for pair in (one for value in asked.getlist("map") for one in value.split(",")):
        flag, colon, name = pair.partition(":")
        if not colon:
            faults.add("map", f"{pair[:200]!r} is not flag:NAME")
        names[flag] = name or None
    inner = reading.Faults()
    naming = variable_names.naming(variable_names.of(environment).naming(), {**given, "names": names}, inner)
    for path, message in inner.items():
        name, _, flag = path.partition(".")
        faults.add("map" if name == "names" else path, f"{flag[:200]} {message}".strip())
    return naming


def _context(asked: Any, faults: reading.Faults) -> dict[str, Any] | None:
    """The context to decide for; None when it is for everybody."""
    if "context" not in asked and TARGETING_KEY not in asked:
        return None
    try:
        context = orjson.loads(asked.get("context", "{}"))
    except ValueError:
        context = None
    if isinstance(context, dict) and TARGETING_KEY in asked:
        context[TARGETING_KEY] = asked[TARGETING_KEY]
    fault = fault_of(context)
    if fault:
        faults.add(*fault)
        return None
    return dict(context)


def _lines(
    snapshot: Snapshot, named: Mapping[str, str | None], context: dict[str, Any] | None, *, shell: bool
) -> Iterable[str]:
    now = time.time()
    left_out = []
    for flag, name in named.items():
        if flag not in snapshot.flags:
            continue
        if name is None:
            left_out.append(f"flag {flag} is left out: so its name says")
            continue
        decided = (
            without_unit(snapshot, flag, now=now)
            if context is None
            else evaluate(snapshot, flag, context, now=now)
        )  # fmt: skip
        if isinstance(decided, str):
            left_out.append(f"{name} is left out: {decided} (ask with ?targetingKey=)")
        elif decided.error is not None:
            left_out.append(f"{name} is left out: {decided.message}")
        else:
            value = dotenv.text(decided.value)
            written = dotenv.quoted_for_shell(value) if shell else dotenv.quoted(value)
            if written is None:
                left_out.append(f"{name} is left out: not every reader understands its value alike (?format=sh has it)")
            else:
                yield f"{name}={written}"
    yield from map(dotenv.comment, left_out)
