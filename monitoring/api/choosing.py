"""Choosing rows by query parameters."""

from datetime import datetime
from typing import TypeVar

from django.db.models import Model, QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers
from rest_framework.request import Request

from portal.errors import Invalid

M = TypeVar("M", bound=Model)


def chosen(shape: type[filters.FilterSet], request: Request, rows: "QuerySet[M]") -> "QuerySet[M]":
    """The rows that the query parameters choose. Raises Invalid naming the parameter that makes no sense."""
    for name, value in request.query_params.items():
        if "\0" in value:
            raise Invalid.of(name, "may not contain the NUL character")
    made = shape(request.query_params, rows)
    if not made.is_valid():
        raise Invalid({name: " ".join(texts) for name, texts in made.errors.items()})
    return made.qs


def moment(request: Request, name: str) -> datetime | None:
    """The time that a query parameter names; None without one. Raises Invalid naming it when it is none."""
    given = request.query_params.get(name, "")
    if not given:
        return None
    try:
        found: datetime = serializers.DateTimeField().to_internal_value(given)
    except serializers.ValidationError:
        raise Invalid.of(name, "must be a time, as 2026-11-02T09:00:00Z") from None
    if not 2000 <= found.year <= 2100:
        raise Invalid.of(name, "must lie between 2000 and 2100")
    return found
