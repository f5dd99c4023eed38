"""Where the pages of feedback are."""

from django.urls import path

from feedback.views import entries

urlpatterns = [
    path("feedback/", entries.index, name="feedback"),
    path("feedback/<int:pk>/", entries.detail, name="entry"),
]
