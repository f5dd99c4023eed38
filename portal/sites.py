"""The admin site's own class; apart from portal.admin, because registering anything needs it already."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest

# What people come for stands first; what other packages call themselves is said in words.
ORDER = ("rollouts", "monitoring", "feedback", "portal")
NAMES = {
    "auth": "Groups",
    "axes": "Sign-in attempts",
    "otp_totp": "One-time passwords",
    "portal": "People, places and keys",
}


class Site(AdminSite):
    site_header = site_title = "Flightdeck"
    index_title = "Everything that is configured"
    site_url = "/"

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        apps: list[dict[str, Any]] = super().get_app_list(request, app_label)
        for app in apps:
            app["name"] = NAMES.get(app["app_label"], app["name"])
        return sorted(apps, key=lambda app: ORDER.index(app["app_label"]) if app["app_label"] in ORDER else len(ORDER))
