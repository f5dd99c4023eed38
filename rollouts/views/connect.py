"""How a service asks for a flag: an example to copy, in its language."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from portal import htmx, permissions
from portal.access import page, person
from portal.models import Environment
from rollouts.views import flags
from rollouts.views.connect_examples import BY_KEY, LANGUAGES, example


@page
@require_GET
def connect(request: HttpRequest, key: str) -> HttpResponse:
    """`?language=` and `?environment=` choose; without them Python, and the first environment."""
    flag = get_object_or_404(flags.visible(request), key=key)
    language = BY_KEY.get(request.GET.get("language", LANGUAGES[0].key))
    seen = permissions.visible(person(request), Environment.objects.all(), environment="id", service=None)
    environments = list(seen)
    asked = request.GET.get("environment")
    place = next((one for one in environments if asked is None or one.key == asked), None)
    if language is None or (asked is not None and place is None):
        raise Http404
    return htmx.render(
        request,
        "rollouts/flags/connect.html",
        flag=flag,
        languages=LANGUAGES,
        environments=environments,
        place=place,
        example=example(language, flag, settings.PORTAL_BASE_URL),
        base_url=settings.PORTAL_BASE_URL,
    )
