"""Feedback by REST: machines hand it in, readers list it."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from feedback import queries
from feedback.actions import entries
from feedback.api.shapes import EntryAddressed, EntryCreate, EntryRow, EntryShape, SearchShape
from portal.drf import DoorSet


class Entries(DoorSet):
    serializer_class = EntryShape
    scope = "feedback"

    @extend_schema(parameters=[SearchShape], responses=EntryRow(many=True))
    def list(self, request: Request) -> Response:
        """Newest first. Never with e-mail addresses."""
        asked = SearchShape(data=request.query_params)
        asked.is_valid(raise_exception=True)
        return self.page(queries.find(queries.Search(**asked.validated_data), by=self.by), EntryRow)

    @extend_schema(request=EntryCreate, responses={201: EntryShape})
    def create(self, request: Request) -> Response:
        """Hand in what a user said. Its sentiment is judged at once; it is null where the language is not known."""
        entry = entries.submit(by=self.by, **self.body(EntryCreate))
        return Response(EntryShape(entry).data, status=201)

    @extend_schema(responses=EntryAddressed)
    def retrieve(self, request: Request, pk: int) -> Response:
        entry = get_object_or_404(queries.visible(self.by), pk=pk)
        addressed = queries.may_see_address(entry, by=self.by)
        return Response(EntryAddressed(entry, context={"addressed": addressed}).data)
