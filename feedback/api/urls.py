"""The REST addresses of feedback, below /api/v1/."""

from django.urls import path

from feedback.api.entries import Entries

urlpatterns = [
    path("feedback/", Entries.as_view({"get": "list", "post": "create"})),
    path("feedback/<int:pk>/", Entries.as_view({"get": "retrieve"})),
]
