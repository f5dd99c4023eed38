"""The kernel as a Django app, and its own admin site."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class PortalConfig(AppConfig):
    name = "portal"
    default = True

    def ready(self) -> None:
        # Every process that nudges needs to know the broker, not the worker alone.
        import portal.celery  # noqa: F401


class AdminConfig(DjangoAdminConfig):
    default_site = "portal.sites.Site"
