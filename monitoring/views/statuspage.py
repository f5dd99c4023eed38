"""The public status page, its JSON and its feeds: for everybody, cheap, and there while the store is not."""

import hashlib

import orjson
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.feedgenerator import Atom1Feed, Rss201rev2Feed
from django.views.decorators.http import require_safe

from monitoring.queries import statuspage
from monitoring.queries.statuspage import Shot
from portal.errors import Unavailable

CACHED = "public, max-age=10"
FEED = 50  # incidents
_last: list[Shot] = []  # what is shown while PostgreSQL is away


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    shot = _shot()
    past = [one for one in shot.incidents if one.status in statuspage.OVER][:20]
    coming = [one for one in shot.maintenances if one.status not in statuspage.OVER]
    body = render_to_string("monitoring/status/page.html", {"shot": shot, "past": past, "coming": coming})
    return _answer(request, body.encode(), "text/html; charset=utf-8")


@require_safe
def incident(request: HttpRequest, code: str) -> HttpResponse:
    one = next((one for one in _shot().incidents if one.code == code), None)
    if one is None:
        raise Http404
    body = render_to_string("monitoring/status/incident.html", {"incident": one})
    return _answer(request, body.encode(), "text/html; charset=utf-8")


@require_safe
def document(request: HttpRequest, name: str) -> HttpResponse:
    found = statuspage.document(_shot(), name)
    if found is None:
        raise Http404
    return _answer(request, orjson.dumps(found), "application/json; charset=utf-8")


@require_safe
def history(request: HttpRequest, form: str) -> HttpResponse:
    shot = _shot()
    about = statuspage.page_of(shot)
    make = Atom1Feed if form == "atom" else Rss201rev2Feed
    feed = make(
        f"{about['name']} status", about["url"], "Incidents and maintenance", feed_url=f"{about['url']}history.{form}"
    )
    for one in shot.incidents[:FEED]:
        lines = (f"{update.status} – {update.body} ({update.at:%Y-%m-%d %H:%M} UTC)" for update in one.updates.all())
        link = statuspage.address_of(one)
        feed.add_item(
            one.name, link, "\n\n".join(lines), pubdate=one.started_at, updateddate=one.updated_at, unique_id=link
        )
    return _answer(request, feed.writeString("utf-8").encode(), feed.content_type)


def _shot() -> Shot:
    try:
        found = statuspage.shot(now=timezone.now())
    except (OperationalError, InterfaceError):
        if not _last:
            raise Unavailable("the store does not answer") from None
        return _last[0]
    _last[:] = [found]
    return found


def _answer(request: HttpRequest, body: bytes, content_type: str) -> HttpResponse:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    known = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
    response = HttpResponse(status=304) if tag in known else HttpResponse(body, content_type=content_type)
    response["ETag"], response["Cache-Control"], response["Access-Control-Allow-Origin"] = tag, CACHED, "*"
    return response
