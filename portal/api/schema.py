"""The OpenAPI document and its reader; open to whoever reaches the portal, they say nothing of anybody's data."""

from functools import lru_cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiYamlRenderer
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.renderers import TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Made once a process: it takes a second, and changes only with the code."""
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


@extend_schema(exclude=True)
class SchemaView(APIView):
    """YAML, or JSON with `?format=json` or an Accept header that asks for it."""

    authentication_classes = ()
    permission_classes = ()
    renderer_classes = (OpenApiYamlRenderer, OpenApiJsonRenderer)

    def get(self, request: Request) -> Response:
        return Response(document())


class DocsView(SpectacularSwaggerSplitView):
    authentication_classes = ()
    permission_classes = ()
    renderer_classes = [TemplateHTMLRenderer]
    url_name = "api-schema"
