"""Change requests by REST: asked for, agreed on, applied."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from portal import permissions
from portal.drf import DoorSet
from portal.errors import Invalid, Stale
from portal.models import Environment
from rollouts.actions import change_requests, previews
from rollouts.api import change_request_shapes as shapes
from rollouts.api import preconditions
from rollouts.api.plans import IF_MATCH
from rollouts.api.preview_shapes import PreviewsShape, shown_previews
from rollouts.models import ChangeRequest, Flag, Segment
from rollouts.queries import change_requests as queries
from rollouts.queries import uses

Shape = shapes.ChangeRequestShape
VERB: dict[str, Any] = {"parameters": [IF_MATCH], "responses": Shape}


class ChangeRequests(DoorSet):
    serializer_class = Shape

    @extend_schema(parameters=[shapes.ChangeRequestQuery], responses=Shape(many=True))
    def list(self, request: Request) -> Response:
        query = shapes.ChangeRequestQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        wanted = query.validated_data
        rows = self._seen()
        for name, column in (("status", "status"), ("flag", "flag__key"), ("environment", "environment__key")):
            if name in wanted:
                rows = rows.filter(**{column: wanted[name]})
        if "segment" in wanted:
            rows = rows.filter(segment=wanted["segment"])
        if wanted["pending"] is not None:
            pending = ChangeRequest.objects.pending()
            rows = rows.filter(pk__in=pending) if wanted["pending"] else rows.exclude(pk__in=pending)
        return self.page(queries.shown(rows), Shape)

    @extend_schema(request=shapes.ChangeRequestOpen, responses={201: Shape})
    def create(self, request: Request) -> Response:
        """Ask for an edit of a flag in an environment, of its variants' values, or of a segment."""
        given = dict(self.body(shapes.ChangeRequestOpen))
        told = {name: given[name] for name in ("title", "because", "apply_at") if name in given}
        if ("document" in given) == ("revision" in given):
            raise Invalid.of("document", "either a document or the revision to go back to")
        if "segment" in given:
            made = self._open_segment(given, told)
        else:
            made = self._open_flag(given, told)
        return self._shown(made.pk, status=201)

    @extend_schema(responses=Shape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return self._shown(pk)

    @extend_schema(parameters=[IF_MATCH], request=shapes.ChangeRequestEdit, responses=Shape)
    def edit(self, request: Request, pk: int) -> Response:
        """Ask for something else. What was approved is so no longer."""
        thing, body = self._find(pk), self.body(shapes.ChangeRequestEdit)
        change_requests.edit(
            thing,
            body.get("document"),
            by=self.by,
            title=body.get("title"),
            because=body.get("because"),
            expected_hash=self._expected(thing, body),
        )
        return self._shown(pk)

    @extend_schema(request=shapes.ApproveBody, **VERB)
    def approve(self, request: Request, pk: int) -> Response:
        """Never by a key, never by whoever has written or edited it."""
        thing, body = self._find(pk), self.body(shapes.ApproveBody)
        said = body["comment"] or body["because"]
        change_requests.approve(thing, by=self.by, comment=said, expected_hash=self._expected(thing, body))
        return self._shown(pk)

    @extend_schema(request=shapes.RejectBody, **VERB)
    def reject(self, request: Request, pk: int) -> Response:
        """Needs a reason. Its author may edit it and ask again."""
        thing, body = self._find(pk), self.body(shapes.RejectBody)
        self._expected(thing, body)
        change_requests.reject(thing, by=self.by, because=body["because"])
        return self._shown(pk)

    @extend_schema(request=shapes.BecauseBody, **VERB)
    def withdraw(self, request: Request, pk: int) -> Response:
        return self._do(pk, change_requests.withdraw)

    @extend_schema(request=shapes.BecauseBody, **VERB)
    def apply(self, request: Request, pk: int) -> Response:
        """Now. 412 when what it was made on has changed meanwhile."""
        return self._do(pk, change_requests.apply)

    @extend_schema(request=shapes.ScheduleBody, **VERB)
    def schedule(self, request: Request, pk: int) -> Response:
        """At a time, or at another than was said before. One that still needs approval waits for it."""
        thing, body = self._find(pk), self.body(shapes.ScheduleBody)
        self._expected(thing, body)
        change_requests.schedule(thing, body["apply_at"], by=self.by, because=body["because"])
        return self._shown(pk)

    @extend_schema(request=shapes.BecauseBody, **VERB)
    def unschedule(self, request: Request, pk: int) -> Response:
        """No time any longer: somebody applies it by hand."""
        return self._do(pk, change_requests.unschedule)

    @extend_schema(parameters=[IF_MATCH], request=None, responses=shapes.RebasedShape)
    def rebase(self, request: Request, pk: int) -> Response:
        """Ask for the same on what is there now. What was approved is so no longer."""
        thing = self._find(pk)
        self._expected(thing, {})
        return self._shown(pk, shapes.RebasedShape, overlapping=change_requests.rebase(thing, by=self.by))

    @extend_schema(responses=PreviewsShape)
    def preview(self, request: Request, pk: int) -> Response:
        """What it would do now, in each environment that it reaches."""
        return Response(shown_previews(previews.of_request(self._find(pk), by=self.by)))

    # --- How ------------------------------------------------------------------------------------
    def _seen(self) -> "QuerySet[ChangeRequest]":
        return uses.requests_seen(self.by, ChangeRequest.objects.all())

    def _find(self, pk: int) -> ChangeRequest:
        return get_object_or_404(self._seen(), pk=pk)

    def _do(self, pk: int, verb: Any) -> Response:
        thing, body = self._find(pk), self.body(shapes.BecauseBody)
        self._expected(thing, body)
        verb(thing, by=self.by, because=body["because"])
        return self._shown(pk)

    def _expected(self, thing: ChangeRequest, body: Any) -> str | None:
        """The hash on which the caller decided, by the body or If-Match; Stale when it is another by now."""
        tags = preconditions.seen(self.request)
        if tags is not None and thing.hash not in tags:
            raise Stale(f"change request {thing.pk} asks for something else by now: look at it again")
        expected: str | None = body.get("expected_hash")
        return expected or (thing.hash if tags is not None else None)

    def _open_flag(self, given: dict[str, Any], told: dict[str, Any]) -> ChangeRequest:
        if "flag" not in given:
            raise Invalid.of("flag", "name a flag or a segment")
        seen = permissions.visible(self.by, Flag.objects.select_related("service"), environment=None)
        flag = seen.filter(key=given["flag"]).first()
        if flag is None:
            raise Invalid.of("flag", f"there is no flag {given['flag']}")
        if "environment" not in given:
            if "document" not in given:
                raise Invalid.of("environment", "of which the revision is")
            return change_requests.open_variants(flag, given["document"], by=self.by, **told)
        places = permissions.visible(self.by, Environment.objects.all(), environment="id", service=None)
        environment = places.filter(key=given["environment"]).first()
        if environment is None:
            raise Invalid.of("environment", f"there is no environment {given['environment']}")
        if "revision" in given:
            return change_requests.open_restore(flag, environment, given["revision"], by=self.by, **told)
        return change_requests.open(flag, environment, given["document"], by=self.by, **told)

    def _open_segment(self, given: dict[str, Any], told: dict[str, Any]) -> ChangeRequest:
        for name in ("flag", "environment", "revision"):
            if name in given:
                raise Invalid.of(name, "not together with a segment")
        segment = Segment.objects.filter(key=given["segment"]).first()
        if segment is None:
            raise Invalid.of("segment", f"there is no segment {given['segment']}")
        return change_requests.open_segment(segment, given["document"], by=self.by, **told)

    def _shown(self, pk: int, shape: Any = Shape, *, status: int = 200, **context: Any) -> Response:
        thing = get_object_or_404(queries.shown(self._seen()), pk=pk)
        return Response(shape(thing, context=context).data, status=status, headers={"ETag": f'"{thing.hash}"'})
