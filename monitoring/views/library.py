"""The library on a page: choose a place, tick what is wanted, take it over in one press."""

from itertools import groupby

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import library as taking
from monitoring.queries import library
from portal import htmx, permissions
from portal.access import page, person
from portal.models import Environment, Service


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """The place stands in the address; without one the definitions are shown as they are shipped."""
    who = person(request)
    service = Service.objects.filter(key=request.GET.get("service", "")).first()
    environment = Environment.objects.filter(key=request.GET.get("environment", "")).first()
    may = False
    if service is not None and environment is not None:
        permissions.require(who, "view", environment=environment, service=service)
        may = permissions.can(who, "configure", environment=environment, service=service)
        offers = library.offers(service, environment)
    else:
        offers = [library.Offer(one, None, False) for one in library.definitions().values()]
    names = library.groups()
    in_groups = sorted(offers, key=lambda one: list(names).index(one.definition.group))
    return htmx.render(
        request,
        "monitoring/library/page.html",
        groups=[(names[key], list(some)) for key, some in groupby(in_groups, key=lambda one: one.definition.group)],
        service=service,
        environment=environment,
        placed=service is not None and environment is not None,
        may=may,
        taken=sum(one.threshold is not None for one in offers),
        services=Service.objects.all(),
        environments=Environment.objects.all(),
    )


@page
@require_POST
def take(request: HttpRequest) -> HttpResponse:
    permissions.require(person(request), "configure", environment=permissions.ANY, service=permissions.ANY)
    service = get_object_or_404(Service, key=request.POST.get("service", ""))
    environment = get_object_or_404(Environment, key=request.POST.get("environment", ""))
    found = taking.take(service, environment, request.POST.getlist("keys"), by=person(request))
    made = sum(one.made for one in found)
    kept = f", {len(found) - made} stay as they are" if made < len(found) else ""
    messages.success(request, f"{made} threshold{'' if made == 1 else 's'} made{kept}.")
    query = urlencode({"service": service.key, "environment": environment.key})
    return HttpResponseRedirect(f"{reverse('library')}?{query}")
