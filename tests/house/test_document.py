"""The OpenAPI document says what it means: no shape under two meanings, no address left out."""

from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator

# Below /api/v1/, but about the document itself.
NOT_DESCRIBED = {"/api/v1/schema/", "/api/v1/docs/"}


def test_the_document_is_made_without_a_warning() -> None:
    GENERATOR_STATS.reset()
    SchemaGenerator().get_schema(request=None, public=True)
    assert not dict(GENERATOR_STATS._warn_cache)
    assert not dict(GENERATOR_STATS._error_cache)


def test_every_address_of_the_api_is_in_the_document() -> None:
    described = {path.replace("{id}", "{pk}") for path in _document()["paths"]}
    routed = {
        path.replace("<int:", "{").replace("<str:", "{").replace(">", "}")
        for path in _routes(get_resolver().url_patterns, "/")
        if path.startswith("/api/v1/")
    }
    assert len(routed) > 50
    assert routed - NOT_DESCRIBED == described


def _document() -> dict[str, Any]:
    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return made


def _routes(patterns: list[URLPattern | URLResolver], before: str) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        here = before + str(pattern.pattern)
        found |= _routes(pattern.url_patterns, here) if isinstance(pattern, URLResolver) else {here}
    return found
