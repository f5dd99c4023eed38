"""Which pages a person may open: signed in, and with a role somewhere. What is on them is asked for each row."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse

from portal import permissions
from portal.errors import Forbidden
from portal.models import User

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]


def page(view: View[P]) -> View[P]:
    """Sign in first; without any role the answer is 403. The person's grants are fetched once for the whole page."""

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        who = person(request)
        prefetch_related_objects([who], "grants")
        permissions.require(who, "view", environment=permissions.ANY, service=permissions.ANY)
        return view(request, *args, **kwargs)

    return login_required(guarded)


def person(request: HttpRequest) -> User:
    """Who is signed in."""
    if not isinstance(request.user, User):
        raise Forbidden("sign in first")
    return request.user
