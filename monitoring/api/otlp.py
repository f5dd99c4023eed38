"""The door of OTLP/HTTP metrics, at /ingest/otlp/v1/metrics: protobuf or JSON, answered in kind."""

from typing import Any

import orjson
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service_pb2
from rest_framework import exceptions
from rest_framework.request import Request

from monitoring.actions import otlp as exporting
from monitoring.actions.batches import Recorded
from monitoring.api.ingesting import Repeatable
from monitoring.sources import otlp, packed
from monitoring.sources.packed import UnknownEncoding
from monitoring.sources.wire import Malformed, TooLarge
from portal.drf import Door
from portal.errors import Invalid

PROTOBUF, JSON = "application/x-protobuf", "application/json"
# google.rpc.Code, by the HTTP status that stands for it.
CODES = {400: 3, 401: 16, 403: 7, 405: 12, 413: 8, 415: 3, 429: 8, 503: 14}
UNKNOWN = 2
SHOWN_FAULTS = 5


class TooMuch(exceptions.APIException):
    status_code = 413


@extend_schema(exclude=True)  # its protocol is OpenTelemetry's
class Otlp(Repeatable, Door):
    """200 when anything was kept, with the data points that were not; 400 when the request cannot be read.

    An exporter repeats after 429, 502, 503 and 504 and never after anything else: what goes wrong on our side is 503.
    """

    source = exporting.SOURCE
    scope = "ingest"

    def post(self, request: Request) -> HttpResponse:
        kind = _kind(request)
        if kind not in (PROTOBUF, JSON):
            raise exceptions.UnsupportedMediaType(kind[:100], f"send {PROTOBUF} or {JSON}")
        try:
            raw = packed.unpack(request._request.body, request.headers.get("Content-Encoding", ""))
            exported = otlp.read(raw, as_json=kind == JSON)
        except TooLarge as error:
            raise TooMuch(str(error)) from None
        except Malformed as error:
            raise Invalid.of("", str(error)) from None
        except UnknownEncoding as error:
            raise exceptions.UnsupportedMediaType(kind, str(error)) from None
        return _answer(exporting.take(exported, by=self.by), kind)

    def handle_exception(self, error: Exception) -> Any:
        """The problem as google.rpc.Status, which exporters log."""
        problem = super().handle_exception(error)
        status = 503 if problem.status_code == 500 else problem.status_code
        code, text = CODES.get(status, UNKNOWN), str(problem.data["detail"] or problem.data["title"])
        if _kind(self.request) == JSON:
            body, kind = orjson.dumps({"code": code, "message": text}), JSON
        else:
            body, kind = _status(code, text), PROTOBUF
        kept = {
            name: problem[name] for name in ("Retry-After", "WWW-Authenticate", "Allow") if problem.has_header(name)
        }
        if status == 503:
            kept.setdefault("Retry-After", "2")
        return HttpResponse(body, status=status, content_type=kind, headers=kept)


def _kind(request: Any) -> str:
    return str(request.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _answer(recorded: Recorded, kind: str) -> HttpResponse:
    answer = service_pb2.ExportMetricsServiceResponse()
    if recorded.rejected:
        answer.partial_success.rejected_data_points = recorded.rejected
        shown = "; ".join(
            f"{fault.field}: {fault.message}" if fault.field else fault.message
            for fault in recorded.errors[:SHOWN_FAULTS]
        )
        answer.partial_success.error_message = shown.encode("utf-8", "replace").decode()[:1000]
    if kind == PROTOBUF:
        return HttpResponse(answer.SerializeToString(), content_type=PROTOBUF)
    partial: dict[str, Any] = {}
    if recorded.rejected:
        partial = {
            "partialSuccess": {
                # 64-bit integers are strings in protobuf's JSON.
                "rejectedDataPoints": str(recorded.rejected),
                "errorMessage": answer.partial_success.error_message,
            }
        }
    return HttpResponse(orjson.dumps(partial), content_type=JSON)


def _status(code: int, text: str) -> bytes:
    """google.rpc.Status: code is field 1, message field 2."""
    message = text.encode("utf-8", "replace")[:2000]
    size = bytes([len(message)]) if len(message) < 128 else bytes([len(message) & 127 | 128, len(message) >> 7])
    return bytes([8, code, 18]) + size + message
