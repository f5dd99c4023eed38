"""What the doors of samples and observations share: a batch in, what became of it out."""

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson
from django.http import HttpRequest
from drf_spectacular.utils import OpenApiResponse
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import rejections
from monitoring.actions.batches import Recorded
from portal import drf
from portal.drf import Problem, Serializer
from portal.errors import Invalid
from portal.problems import PROBLEM, problem_body

MOST = 10_000  # samples or observations in one request


class TooMany(exceptions.APIException):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class BatchParser(drf.Parser):
    """JSON as senders write it. NaN, Infinity, NUL and half surrogates get through, to be named with their sample."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        # `.body` keeps to DATA_UPLOAD_MAX_MEMORY_SIZE; a bare read would not.
        body = stream.body if isinstance(stream, HttpRequest) else stream.read()
        if not body.strip():
            return {}
        try:
            return orjson.loads(body)
        except ValueError:
            pass
        try:
            return json.loads(body)
        except RecursionError:
            raise exceptions.ParseError("the body is not JSON that we read: nested too deep") from None
        except ValueError as error:
            raise exceptions.ParseError(f"the body is not JSON: {error}") from None


class FaultShape(Serializer):
    index = serializers.IntegerField(required=False, help_text="the place in the batch")
    field = serializers.CharField()
    message = serializers.CharField()


class RecordedShape(Serializer):
    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    conflicts = serializers.IntegerField(help_text="there already with another value: the first one is kept")
    rejected = serializers.IntegerField()
    errors = FaultShape(many=True)  # type: ignore[assignment]


class RejectedShape(Problem):
    """A problem; when some of the batch were rejected, with what became of the others, which are kept."""

    accepted = serializers.IntegerField(required=False)
    duplicates = serializers.IntegerField(required=False)
    conflicts = serializers.IntegerField(required=False)
    rejected = serializers.IntegerField(required=False)
    errors = FaultShape(many=True)  # type: ignore[assignment]


RESPONSES: dict[Any, Any] = {
    200: RecordedShape,
    (400, PROBLEM): OpenApiResponse(RejectedShape, "some or all were rejected; the good ones are kept"),
}


def take(request: Request, name: str, record: Callable[[list[object]], Recorded], *, single: bool = False) -> Response:
    """Record the batch that the body holds under `name`: 200, or 400 when any was rejected.

    `single`: a body without that name is a batch of one.
    """
    body: Any = request.data
    if single and isinstance(body, dict) and body and name not in body:
        body = {name: [body]}
    outcome = rejections.noted(name, record(_listed(body, name)), by=request.user)  # type: ignore[arg-type]
    if not outcome.rejected:
        return Response(outcome.as_dict())
    total = outcome.accepted + outcome.duplicates + outcome.conflicts + outcome.rejected
    detail = f"{outcome.rejected} of {total} {name} were rejected; the others are kept"
    body = problem_body(HTTPStatus.BAD_REQUEST, detail) | outcome.as_dict()
    return Response(body, status=HTTPStatus.BAD_REQUEST, content_type=PROBLEM)


def _listed(body: Any, name: str) -> list[object]:
    if not isinstance(body, dict):
        raise Invalid.of("", f'the body must be a JSON object: {{"{name}": […]}}')
    unknown = sorted(set(body) - {name})
    if unknown:
        raise Invalid.of(unknown[0][:100].encode("ascii", "backslashreplace").decode(), "unknown field")
    listed = body.get(name)
    if not isinstance(listed, list):
        raise Invalid.of(name, "is required" if listed is None else "must be a list")
    if len(listed) > MOST:
        raise TooMany(f"{name}: at most {MOST} in one request, not {len(listed)}")
    return listed
