"""Choosing rows by query parameters."""

from typing import TypeVar

from django.db.models import Model, QuerySet
from django_filters import rest_framework as filters
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
