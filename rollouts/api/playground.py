"""The playground by REST: every flag for one context, with the trace of each."""

import time
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal import permissions
from portal.drf import DoorSet, Pages, Serializer
from portal.errors import Invalid
from portal.models import Environment
from rollouts.api.contexts import fault_of
from rollouts.api.flag_shapes import ExplainShape
from rollouts.models import Flag
from rollouts.queries import explaining

MOST = Pages.max_page_size


class PlaygroundAsk(Serializer):
    environment = serializers.CharField(max_length=128)
    context = serializers.DictField()  # type: ignore[assignment]
    flags = serializers.ListField(
        child=serializers.CharField(max_length=128),
        required=False,
        max_length=MOST,
        help_text="their keys; every flag when left out, a page at a time",
    )


class PlaygroundShape(Serializer):
    environment = serializers.CharField()
    context = serializers.DictField()  # type: ignore[assignment]
    count = serializers.IntegerField()
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = ExplainShape(many=True)


PAGES = [
    OpenApiParameter("page", int),
    OpenApiParameter("page_size", int, description=f"50 by default, {MOST} at the most"),
    OpenApiParameter("search", str, description="only flags with this in key, description or owner"),
]


class Playground(DoorSet):
    """Reads, for all that it is a POST: nothing is counted, sampled or kept."""

    serializer_class = PlaygroundShape

    @extend_schema(parameters=PAGES, request=PlaygroundAsk, responses={200: PlaygroundShape})
    def create(self, request: Request) -> Response:
        """What this context gets of every flag in an environment, and why. It counts as no evaluation."""
        asked = self.body(PlaygroundAsk)
        fault = fault_of(asked["context"])
        if fault:
            raise Invalid.of(*fault)
        environment = _environment(self, asked["environment"])
        pages: Any = Pages()
        search = request.query_params.get("search", "")
        if "\0" in search:
            raise Invalid.of("search", "may not contain the NUL character")
        rows = Flag.objects.live().saying(search) if search else Flag.objects.live()
        seen = permissions.visible(self.by, rows, environment=None).order_by("key")
        wanted = _named(asked["flags"], seen) if "flags" in asked else seen.values_list("key", flat=True)
        keys = pages.paginate_queryset(wanted, request, view=self)
        found = explaining.every(environment, list(keys), asked["context"], now=time.time())
        answer: Response = pages.get_paginated_response([one.as_dict() for one in found])
        answer.data = {"environment": environment.key, "context": asked["context"], **answer.data}
        return answer


def _named(asked: list[str], seen: "QuerySet[Flag]") -> list[str]:
    """The flags asked for, each once."""
    there = set(seen.filter(key__in=asked).values_list("key", flat=True))
    for place, key in enumerate(asked):
        if key not in there:
            raise Invalid.of(f"flags[{place}]", f"there is no flag {key[:200]}")
    return list(dict.fromkeys(asked))


def _environment(door: DoorSet, key: str) -> Environment:
    seen = permissions.visible(door.by, Environment.objects.all(), environment="id", service=None)
    found = seen.filter(key=key).first()
    if found is None:
        raise exceptions.NotFound(f"environment: there is no environment {key} that you may view")
    return found
