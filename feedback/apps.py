"""Feedback as a Django app, and what pages may watch of it."""

from importlib import import_module

from django.apps import AppConfig


class FeedbackConfig(AppConfig):
    name = "feedback"

    def ready(self) -> None:
        import_module("feedback.live_topics")
