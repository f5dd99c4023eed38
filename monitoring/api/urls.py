"""The REST addresses of monitoring, below /api/v1/."""

from typing import Any

from django.urls import URLPattern, path

from monitoring.api import (
    alerts,
    channels,
    definitions,
    errors,
    escalation,
    events,
    incidents,
    library,
    metrics,
    observations,
    postmortems,
    preferences,
    rejections,
    samples,
    scores,
    silences,
    slos,
    sources,
    statuspage,
    thresholds,
    web_vitals,
)

CHANGING: dict[str, Any] = {"get": "retrieve", "put": "replace", "patch": "change", "delete": "destroy"}
VERBS = ("acknowledge", "escalate", "mitigate", "resolve", "close", "note", "assign", "severity")

urlpatterns: list[URLPattern] = [
    path("metrics/", metrics.Metrics.as_view({"get": "list", "post": "create"})),
    path("metrics/<str:name>/", metrics.Metrics.as_view({"get": "retrieve", "patch": "change"})),
    path("metrics/<str:name>/points/", metrics.Metrics.as_view({"get": "points"})),
    path("samples/", samples.Samples.as_view({"get": "list", "post": "create"})),
    path("observations/", observations.Observations.as_view({"post": "create"})),
    path("events/", events.Events.as_view({"get": "list", "post": "create"})),
    path("errors/", errors.Errors.as_view({"get": "list", "post": "create"})),
    path("errors/<int:pk>/", errors.Errors.as_view({"get": "retrieve"})),
    *(
        path(f"errors/<int:pk>/{verb}/", errors.ErrorVerbs.as_view({"post": verb}))
        for verb in ("resolve", "ignore", "reopen", "assign")
    ),
    path("health-scores/", scores.HealthScores.as_view({"get": "list"})),
    path("web-vitals/", web_vitals.WebVitals.as_view({"get": "list"})),
    path("rejections/", rejections.Rejections.as_view({"get": "list"})),
    path("thresholds/", thresholds.Thresholds.as_view({"get": "list", "post": "create"})),
    path("thresholds/<int:pk>/", thresholds.Thresholds.as_view(CHANGING)),
    path("alerts/", alerts.Alerts.as_view({"get": "list"})),
    path("alerts/<int:pk>/", alerts.Alerts.as_view({"get": "retrieve"})),
    path("alerts/<int:pk>/mark_false/", alerts.Alerts.as_view({"post": "mark_false"})),
    path("alerts/<int:pk>/unmark_false/", alerts.Alerts.as_view({"post": "unmark_false"})),
    path("silences/", silences.Silences.as_view({"get": "list", "post": "create"})),
    path("silences/<int:pk>/", silences.Silences.as_view({"get": "retrieve", "delete": "destroy"})),
    path("maintenance/", silences.MaintenanceWindows.as_view({"get": "list", "post": "create"})),
    path("maintenance/<int:pk>/", silences.MaintenanceWindows.as_view({"get": "retrieve", "delete": "destroy"})),
    path("inhibitions/", silences.Inhibitions.as_view({"get": "list", "post": "create"})),
    path("inhibitions/<int:pk>/", silences.Inhibitions.as_view({"get": "retrieve", "delete": "destroy"})),
    path("library/", library.Library.as_view({"get": "offers"})),
    path("library/take/", library.Library.as_view({"post": "take"})),
    path("slos/", slos.Slos.as_view({"get": "list", "post": "create"})),
    path("slos/<str:key>/", slos.Slos.as_view({"get": "retrieve", "patch": "change", "delete": "destroy"})),
    path("slos/<str:key>/budget/", slos.Slos.as_view({"get": "budget"})),
    path("incidents/", incidents.Incidents.as_view({"get": "list", "post": "create"})),
    path("incidents/figures/", incidents.Incidents.as_view({"get": "figures"})),
    path("incidents/<int:pk>/", incidents.Incidents.as_view({"get": "retrieve"})),
    *(path(f"incidents/<int:pk>/{verb}/", incidents.Incidents.as_view({"post": verb})) for verb in VERBS),
    path("incidents/<int:pk>/attachments/", incidents.Incidents.as_view({"get": "attachments"})),
    path("incidents/<int:pk>/responses/<int:run>/confirm/", incidents.Incidents.as_view({"post": "confirm"})),
    path("incidents/<int:pk>/post-mortem/", postmortems.PostMortems.as_view({"get": "retrieve", "patch": "change"})),
    *(
        path(f"incidents/<int:pk>/post-mortem/{verb}/", postmortems.PostMortems.as_view({"post": verb}))
        for verb in ("publish", "waive")
    ),
    path("incidents/<int:pk>/post-mortem/versions/", postmortems.PostMortems.as_view({"get": "versions"})),
    path("action-items/", postmortems.ActionItems.as_view({"get": "list", "post": "create"})),
    path("action-items/<int:pk>/", postmortems.ActionItems.as_view({"get": "retrieve", "patch": "change"})),
    path("action-items/<int:pk>/end/", postmortems.ActionItems.as_view({"post": "end"})),
    path("incident-definitions/", definitions.Definitions.as_view({"get": "list", "post": "create"})),
    path(
        "incident-definitions/<str:key>/",
        definitions.Definitions.as_view({"get": "retrieve", "patch": "change", "delete": "destroy"}),
    ),
    path("escalation-policies/", escalation.Policies.as_view({"get": "list", "post": "create"})),
    path(
        "escalation-policies/<str:key>/",
        escalation.Policies.as_view({"get": "retrieve", "patch": "change", "delete": "destroy"}),
    ),
    path("rotas/", escalation.Rotas.as_view({"get": "list", "post": "create"})),
    path("rotas/<str:key>/", escalation.Rotas.as_view({"get": "retrieve", "patch": "change", "delete": "destroy"})),
    path("rotas/<str:key>/shifts/", escalation.Rotas.as_view({"get": "shifts"})),
    path("rotas/<str:key>/overrides/", escalation.Rotas.as_view({"get": "overrides", "post": "stand_in"})),
    path("rotas/<str:key>/overrides/<int:pk>/", escalation.Rotas.as_view({"delete": "take_back"})),
    path(
        "notification-preferences/<str:username>/",
        preferences.NotificationPreferences.as_view({"get": "retrieve", "patch": "change", "delete": "destroy"}),
    ),
    path("channels/", channels.Channels.as_view({"get": "list", "post": "create"})),
    path("channels/<int:pk>/", channels.Channels.as_view(CHANGING)),
    path("channels/<int:pk>/test/", channels.Channels.as_view({"post": "test"})),
    path("sources/", sources.Sources.as_view({"get": "list", "post": "create"})),
    path("sources/try/", sources.Sources.as_view({"post": "try_out"})),
    path("sources/<int:pk>/", sources.Sources.as_view(CHANGING)),
    path("sources/<int:pk>/try/", sources.Sources.as_view({"post": "try_"})),
    path("sources/<int:pk>/pull/", sources.Sources.as_view({"post": "pull"})),
    path("status/components/", statuspage.StatusComponents.as_view({"get": "list", "post": "create"})),
    path(
        "status/components/<str:code>/",
        statuspage.StatusComponents.as_view({"get": "retrieve", "patch": "change", "delete": "destroy"}),
    ),
    path("status/incidents/", statuspage.StatusIncidents.as_view({"get": "list", "post": "create"})),
    path("status/incidents/<str:code>/", statuspage.StatusIncidents.as_view({"get": "retrieve"})),
    path("status/incidents/<str:code>/updates/", statuspage.StatusIncidents.as_view({"post": "update"})),
    path("outbox/", channels.Outbox.as_view({"get": "list"})),
    path("outbox/<int:pk>/", channels.Outbox.as_view({"get": "retrieve"})),
    path("outbox/<int:pk>/resend/", channels.Outbox.as_view({"post": "resend"})),
]
