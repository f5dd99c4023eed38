"""The `at` of an address: as it was at that time."""

from datetime import datetime

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from portal.errors import Invalid

AT = OpenApiParameter(
    "at", OpenApiTypes.DATETIME, description="as it was at this time, rebuilt from the log; RFC 3339 with its offset"
)


def asked(request: Request) -> datetime | None:
    """The moment that is asked for, None for now."""
    given = request.query_params.get("at")
    if given is None:
        return None
    try:
        # A plus that was not escaped arrives as a space.
        at = datetime.fromisoformat(given.strip().replace(" ", "+"))
        if at.tzinfo is None:
            raise ValueError
        at.timestamp()
    except (ValueError, OverflowError):
        raise Invalid.of("at", "must be a time with its offset, such as 2026-03-01T09:00:00Z") from None
    return at
