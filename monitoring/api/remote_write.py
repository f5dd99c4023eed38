"""The door of Prometheus' remote_write 1.0, at /ingest/prometheus/api/v1/write."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import remote_write as writing
from monitoring.actions.batches import Recorded
from monitoring.api.ingesting import Repeatable
from monitoring.sources import remote_write
from monitoring.sources.remote_write import Malformed, TooLarge, Written
from portal.drf import Door
from portal.errors import Invalid
from portal.problems import PROBLEM, problem_body

CONTENT_TYPE = "application/x-protobuf"
# A message of 2.0 names itself in the content type.
KNOWN_MESSAGES = ("", "prometheus.WriteRequest")
SHOWN_FAULTS = 20


class TooMuch(exceptions.APIException):
    status_code = 413


@extend_schema(exclude=True)  # its protocol is Prometheus', not JSON
class RemoteWrite(Repeatable, Door):
    """204 when all is kept; 400 when something is wrong, and the good samples are kept nevertheless.

    A sender repeats after 503 and never after 4xx. NaN and infinite values are Prometheus' daily bread: they are
    left out and not held against it.
    """

    source = "remote_write"
    scope = "ingest"

    def post(self, request: Request) -> Response:
        _check_headers(request)
        try:
            packed = remote_write.unpack(request._request.body)
            recorded, written = writing.take(packed, by=self.by)
        except TooLarge as error:
            raise TooMuch(str(error)) from None
        except Malformed as error:
            raise Invalid.of("", str(error)) from None
        # By the names that 2.0 gives them: native histograms and exemplars are not kept.
        headers = {
            "X-Prometheus-Remote-Write-Samples-Written": str(recorded.accepted + recorded.duplicates),
            "X-Prometheus-Remote-Write-Histograms-Written": "0",
            "X-Prometheus-Remote-Write-Exemplars-Written": "0",
        }
        if recorded.rejected:
            return Response(_complaint(recorded, written), status=400, headers=headers, content_type=PROBLEM)
        return Response(status=204, headers=headers)


def _check_headers(request: Request) -> None:
    kind, _, parameters = request.headers.get("Content-Type", "").partition(";")
    message = parameters.strip().removeprefix("proto=").strip('"')
    if kind.strip().lower() != CONTENT_TYPE or message not in KNOWN_MESSAGES:
        raise exceptions.UnsupportedMediaType(kind, f"send {CONTENT_TYPE}: remote_write 1.0")
    encoding = request.headers.get("Content-Encoding", "")
    if encoding.strip().lower() != "snappy":
        raise exceptions.UnsupportedMediaType(kind, f"send Content-Encoding: snappy, not {encoding[:50] or 'none'!r}")


def _complaint(recorded: Recorded, written: Written) -> dict[str, Any]:
    """What was wrong, in one line that Prometheus logs, and in parts."""
    first = recorded.errors[0]
    total = recorded.accepted + recorded.duplicates + recorded.conflicts + recorded.rejected
    detail = f"{recorded.rejected} of {total} samples rejected; series {first.index}: {first.field}: {first.message}"
    told = recorded.as_dict()
    faults = [{"field": one.pop("field"), "message": one.pop("message")} | one for one in told.pop("errors")]
    return {
        **problem_body(400, detail, faults[:SHOWN_FAULTS]),
        **told,
        "skipped": written.skipped,
        "histograms": written.histograms,
        "exemplars": written.exemplars,
    }
