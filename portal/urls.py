"""Where everything is."""

from django.conf import settings
from django.contrib.auth import views as auth
from django.urls import include, path
from django.views.generic import RedirectView

from monitoring.api import slack
from monitoring.api.alertmanager import AlertmanagerAlerts, AlertmanagerStatus, Healthy, Webhook
from monitoring.api.browser import Browser
from monitoring.api.browser import script as browser_script
from monitoring.api.otlp import Otlp
from monitoring.api.remote_write import RemoteWrite
from monitoring.api.sentry import SentryEnvelope, SentryStore
from portal.admin import site
from portal.pages import demo, home

urlpatterns = [
    path("", home.home, name="home"),
    path("parts/<slug:name>/", home.part, name="home-part"),
    path("banner/", home.banner, name="banner"),
    path("demo/", demo.control, name="demo"),
    path("demo/state/", demo.state, name="demo-state"),
    path("demo/card/", demo.card, name="demo-card"),
    path("demo/inject/<slug:what>/", demo.inject, name="demo-inject"),
    path("demo/say/", demo.say, name="demo-say"),
    path("demo/sit/<str:username>/", demo.sit, name="demo-sit"),
    path("demo/start-empty/", demo.start_empty, name="demo-start-empty"),
    path("login/", auth.LoginView.as_view(template_name="login.html"), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("admin/", site.urls),
    path("api/v1/", include("portal.api.urls")),
    path("api/<int:project>/envelope/", SentryEnvelope.as_view(), name="sentry-envelope"),
    path("api/<int:project>/store/", SentryStore.as_view(), name="sentry-store"),
    path("", include("rollouts.views.urls")),
    path("", include("monitoring.views.urls")),
    path("", include("feedback.views.urls")),
    path("ingest/prometheus/api/v1/write", RemoteWrite.as_view(), name="remote-write"),
    path("ingest/browser", Browser.as_view(), name="browser"),
    path("ingest/browser.js", browser_script, name="browser-script"),
    path("ingest/alertmanager", Webhook.as_view(), name="alertmanager-webhook"),
    path("ingest/alertmanager/api/v2/alerts", AlertmanagerAlerts.as_view(), name="alertmanager-alerts"),
    path("ingest/alertmanager/api/v2/status", AlertmanagerStatus.as_view(), name="alertmanager-status"),
    path("ingest/alertmanager/-/healthy", Healthy.as_view(), name="alertmanager-healthy"),
    path("ingest/alertmanager/-/ready", Healthy.as_view(), name="alertmanager-ready"),
    path("hooks/slack/interactions/", slack.interactions, name="slack-interactions"),
    path("ingest/otlp/v1/metrics", Otlp.as_view(), name="otlp-metrics"),
    path("favicon.ico", RedirectView.as_view(url=settings.STATIC_URL + "favicon.svg", permanent=False)),
]

handler404 = "portal.problems.not_found"
