"""Feedback as a Django app, what pages may watch of it and reports tell."""

from importlib import import_module

from django.apps import AppConfig


class FeedbackConfig(AppConfig):
    name = "feedback"

    def ready(self) -> None:
        import_module("feedback.live_topics")
        import_module("feedback.report_sections")
