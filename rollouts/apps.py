"""Rollouts as a Django app: plugs in what incidents may do to it, what pages may watch, what reports tell."""

from importlib import import_module

from django.apps import AppConfig


class RolloutsConfig(AppConfig):
    name = "rollouts"
    default = True

    def ready(self) -> None:
        import_module("rollouts.incident_responses")
        import_module("rollouts.live_topics")
        import_module("rollouts.report_sections")
