"""Where the pages of monitoring are."""

from django.urls import path

from monitoring.views import incidents, rejections

urlpatterns = [
    path("rejections/", rejections.index, name="rejections"),
    path("incidents/", incidents.index, name="incidents"),
    path("incidents/<int:pk>/", incidents.detail, name="incident"),
    path("incidents/<int:pk>/parts/<slug:name>/", incidents.part, name="incident-part"),
    path("incidents/<int:pk>/<slug:verb>/", incidents.press, name="incident-press"),
]
