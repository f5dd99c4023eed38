"""ETags of versioned things by REST, and what If-Match says of them."""

from rest_framework.request import Request

from portal.errors import Stale


def etag(revision: int) -> dict[str, str]:
    return {"ETag": f'"{revision}"'}


def seen(request: Request) -> set[str] | None:
    """The tags on which the caller decided, by If-Match; None when any will do."""
    header = request.headers.get("If-Match", "").strip()
    if not header or header == "*":
        return None
    return {one.strip().removeprefix("W/").strip('"') for one in header.split(",")}


def expected_revision(request: Request, current: int) -> int | None:
    """The revision on which the caller decided, None when any will do. Stale when If-Match names others."""
    tags = seen(request)
    if tags is None:
        return None
    if str(current) not in tags:
        raise Stale(f"it is at revision {current}, not {' or '.join(sorted(tags))[:100]}: look at it again")
    return current
