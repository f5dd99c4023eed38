"""Segments by REST."""

from django.db.models import Q, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from portal.drf import DoorSet
from portal.errors import Invalid
from rollouts.actions import previews, segments
from rollouts.api import flag_shapes as shapes
from rollouts.api import moments
from rollouts.api.preconditions import etag, expected_revision
from rollouts.api.preview_shapes import PreviewsShape, SegmentUsesShape, shown_previews, shown_segment_uses
from rollouts.engine.reading import storable
from rollouts.models import Segment, SegmentRevision
from rollouts.queries import history, uses

IF_MATCH = OpenApiParameter("If-Match", str, OpenApiParameter.HEADER, description="the ETag that you have seen")


class Segments(DoorSet):
    serializer_class = shapes.SegmentShape

    @extend_schema(
        parameters=[OpenApiParameter("search", str, description="in key or name")],
        responses=shapes.SegmentShape(many=True),
    )
    def list(self, request: Request) -> Response:
        rows: QuerySet[Segment] = Segment.objects.all()
        search = request.query_params.get("search", "")
        if not storable(search):
            raise Invalid.of("search", "may not contain NUL or half characters")
        if search:
            rows = rows.filter(Q(key__icontains=search) | Q(name__icontains=search))
        return self.page(rows, shapes.SegmentShape)

    @extend_schema(request=shapes.SegmentCreate, responses={201: shapes.SegmentShape})
    def create(self, request: Request) -> Response:
        given = dict(self.body(shapes.SegmentCreate))
        segment = segments.create(given.pop("key"), by=self.by, because=given.pop("because", ""), **_plain(given))
        return Response(shapes.SegmentShape(segment).data, status=201, headers=etag(segment.revision))

    @extend_schema(parameters=[moments.AT], responses=shapes.SegmentShape)
    def retrieve(self, request: Request, key: str) -> Response:
        at = moments.asked(request)
        if at is None:
            return _shown(_find(key))
        state = history.segment_at(key, at)
        if state is None:
            raise Http404
        return Response(shapes.segment_at(state, SegmentRevision.objects.filter(segment=key).earliest("number").at))

    @extend_schema(responses=shapes.SegmentRevisionShape(many=True))
    def revisions(self, request: Request, key: str) -> Response:
        """Every write, newest first; also of a segment that has been deleted."""
        rows = SegmentRevision.objects.filter(segment=key)
        if not rows.exists():
            raise Http404
        return self.page(rows, shapes.SegmentRevisionShape)

    @extend_schema(parameters=[IF_MATCH], request=shapes.FlagRestore, responses=shapes.SegmentShape)
    def restore(self, request: Request, key: str) -> Response:
        """An earlier revision becomes the current one, as a new revision; a deleted segment is there again."""
        held = Segment.objects.filter(key=key).first()
        expected = expected_revision(request, held.revision) if held else None
        given = self.body(shapes.FlagRestore)
        return _shown(
            segments.restore(key, given["revision"], by=self.by, because=given["because"], expected_revision=expected)
        )

    @extend_schema(responses=SegmentUsesShape)
    def uses(self, request: Request, key: str) -> Response:
        """The flags and segments that would notice a change of it, and what is asked for about it."""
        segment = _find(key)
        return Response(shown_segment_uses(segment.key, uses.of_segment(segment.key, self.by)))

    @extend_schema(request=shapes.SegmentPreviewAsk, responses=PreviewsShape)
    def preview(self, request: Request, key: str) -> Response:
        """What an edit would do, before it is saved, in each environment that it reaches."""
        segment, given = _find(key), dict(self.body(shapes.SegmentPreviewAsk))
        edit = None if given.pop("deleted", False) else _plain(given)
        return Response(shown_previews(previews.of_segment(segment, edit, by=self.by)))

    @extend_schema(parameters=[IF_MATCH], request=shapes.SegmentChange, responses=shapes.SegmentShape)
    def change(self, request: Request, key: str) -> Response:
        """A field left out keeps its value."""
        segment = _find(key)
        expected = expected_revision(request, segment.revision)
        given = dict(self.body(shapes.SegmentChange))
        because = given.pop("because", "")
        segments.change(segment, _plain(given), by=self.by, because=because, expected_revision=expected)
        return _shown(segment)

    @extend_schema(parameters=[IF_MATCH], request=None, responses={204: None})
    def destroy(self, request: Request, key: str) -> Response:
        """Refused while a flag or another segment uses it."""
        segment = _find(key)
        segments.delete(segment, by=self.by, expected_revision=expected_revision(request, segment.revision))
        return Response(status=204)


def _find(key: str) -> Segment:
    return get_object_or_404(Segment, key=key)


def _plain(given: dict[str, object]) -> dict[str, object]:
    """Conditions as plain JSON: the action reads them by itself."""
    if "conditions" in given:
        given["conditions"] = [dict(one) for one in given["conditions"]]  # type: ignore[attr-defined]
    return given


def _shown(segment: Segment) -> Response:
    return Response(shapes.SegmentShape(segment).data, headers=etag(segment.revision))
