"""Plans in the admin: every change a new version, the older ones to read."""

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest

from portal.admin import ActionForm, Admin
from portal.errors import Invalid
from rollouts.actions import plans
from rollouts.models import Plan

START = {
    "stages": [{"name": "a few", "weight": 5, "dwell": 300, "gates": []}],
    "guardrails": [],
    "checklists": [],
}


class Pretty(DjangoJSONEncoder):
    """JSON that a person can edit."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**(options | {"indent": 2, "sort_keys": False}))


class PlanForm(ActionForm):
    content = forms.JSONField(
        encoder=Pretty,
        initial=START,
        widget=forms.Textarea({"rows": 30, "cols": 100, "spellcheck": "false"}),
        help_text="stages, guardrails, checklists and watch, as POST /api/v1/plans/ takes them",
    )
    expected_hash = forms.CharField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Plan
        fields = ("name", "content")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Two people who edit at once: the second is told.
        self.fields["expected_hash"].initial = self.instance.hash

    def act(self) -> Plan:
        given = self.cleaned_data
        if not isinstance(given["content"], dict):
            raise Invalid.of("content", f"must be an object, as {json.dumps(START)}")
        name = self.instance.name or given["name"]
        seen = [given["expected_hash"]] if given["expected_hash"] else None
        return plans.write(name, given["content"], by=self.by, expected_hashes=seen)[0]


@admin.register(Plan)
class PlanAdmin(Admin[Plan]):
    form = PlanForm
    list_display = ("name", "version", "current", "hash", "author_name", "created_at")
    list_filter = ("current",)
    search_fields = ("name", "hash")

    def get_fields(self, request: HttpRequest, obj: Plan | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("name", "content", "expected_hash")
        return ("name", "version", "hash", "current", "author_name", "created_at", "content", "expected_hash")

    def get_readonly_fields(self, request: HttpRequest, obj: Plan | None = None) -> tuple[str, ...]:
        return ("name", "version", "hash", "current", "author_name", "created_at") if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Plan | None = None) -> bool:
        return (obj is None or obj.current) and super().has_change_permission(request, obj)
