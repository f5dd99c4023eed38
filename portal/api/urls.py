"""What is below /api/v1/."""

from django.urls import include, path

from portal.api import audit, config, environments, schema, services

urlpatterns = [
    path("schema/", schema.SchemaView.as_view(), name="api-schema"),
    path("docs/", schema.DocsView.as_view(), name="api-docs"),
    path("services/", services.Services.as_view({"get": "list", "post": "create"})),
    path("services/<str:key>/", services.Services.as_view({"get": "retrieve", "patch": "change"})),
    path("environments/", environments.Environments.as_view({"get": "list", "post": "create"})),
    path("environments/<str:key>/", environments.Environments.as_view({"get": "retrieve", "patch": "change"})),
    path("config/apply/", config.Apply.as_view()),
    path("config/export/", config.Export.as_view()),
    path("audit/", audit.Audit.as_view({"get": "list"})),
    path("", include("rollouts.api.urls")),
    path("", include("monitoring.api.urls")),
    path("", include("feedback.api.urls")),
]
