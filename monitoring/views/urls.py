"""Where the pages of monitoring are."""

from django.urls import path

from monitoring.views import alerts, channels, incidents, on_call, rejections, silences, slos, statuspage, thresholds

urlpatterns = [
    path("status/", statuspage.page, name="status-page"),
    path("status/incidents/<slug:code>/", statuspage.incident, name="status-incident"),
    path("status/api/v2/<path:name>.json", statuspage.document, name="status-document"),
    path("status/history.rss", statuspage.history, {"form": "rss"}, name="status-rss"),
    path("status/history.atom", statuspage.history, {"form": "atom"}, name="status-atom"),
    path("channels/", channels.index, name="channels"),
    path("channels/<int:pk>/test/", channels.test, name="channel-test"),
    path("dead-letters/", channels.dead_letters, name="dead-letters"),
    path("dead-letters/<int:pk>/resend/", channels.resend, name="dead-letter-resend"),
    path("rejections/", rejections.index, name="rejections"),
    path("on-call/", on_call.index, name="on-call"),
    path("on-call/overrides/<int:pk>/take-back/", on_call.take_back, name="on-call-take-back"),
    path("on-call/<str:key>/stand-in/", on_call.stand_in, name="on-call-stand-in"),
    path("thresholds/", thresholds.index, name="thresholds"),
    path("thresholds/new/", thresholds.new, name="threshold-new"),
    path("thresholds/<int:pk>/", thresholds.detail, name="threshold"),
    path("thresholds/<int:pk>/edit/", thresholds.edit, name="threshold-edit"),
    path("thresholds/<int:pk>/remove/", thresholds.remove, name="threshold-remove"),
    path("alerts/", alerts.index, name="alerts"),
    path("alerts/<int:pk>/<slug:verb>/", alerts.mark, name="alert-mark"),
    path("silences/", silences.index, name="silences"),
    path("silences/new/", silences.make, name="silence-new"),
    path("silences/<int:pk>/end/", silences.end, name="silence-end"),
    path("silences/maintenance/new/", silences.plan, name="maintenance-new"),
    path("silences/maintenance/<int:pk>/cancel/", silences.cancel, name="maintenance-cancel"),
    path("slos/", slos.index, name="slos"),
    path("slos/<str:key>/", slos.detail, name="slo"),
    path("incidents/", incidents.index, name="incidents"),
    path("incidents/<int:pk>/", incidents.detail, name="incident"),
    path("incidents/<int:pk>/parts/<slug:name>/", incidents.part, name="incident-part"),
    path("incidents/<int:pk>/<slug:verb>/", incidents.press, name="incident-press"),
]
