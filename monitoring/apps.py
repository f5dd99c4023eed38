"""The monitoring app, what pages may watch of it, and what it must have done before its first sample arrives."""

from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class MonitoringConfig(AppConfig):
    name = "monitoring"

    def ready(self) -> None:
        from monitoring.actions import partitions

        import_module("monitoring.incident_responses")
        import_module("monitoring.live_topics")
        import_module("monitoring.report_sections")

        # A fresh (or emptied) database takes samples at once, without waiting for the sweep.
        post_migrate.connect(partitions.open_store, sender=self, dispatch_uid="monitoring.open_store")
