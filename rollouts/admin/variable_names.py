"""How flags are called as environment variables, in the admin."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from portal.admin import ActionForm, Admin
from rollouts.actions import variable_names
from rollouts.admin.fields import JsonField
from rollouts.models import VariableNames


class VariableNamesForm(ActionForm):
    names = JsonField(
        required=False, help_text='Flags that are called otherwise: {"flag": "NAME"}; null leaves one out'
    )

    class Meta:
        model = VariableNames
        fields = ("environment", "prefix", "suffix", "value_suffix", "names")

    def act(self) -> VariableNames:
        given: dict[str, Any] = dict(self.cleaned_data)
        environment = given.pop("environment", None) or self.instance.environment
        given["names"] = {} if given["names"] is None else given["names"]
        return variable_names.change(environment, given, by=self.by)


@admin.register(VariableNames)
class VariableNamesAdmin(Admin[VariableNames]):
    form = VariableNamesForm
    list_display = ("environment", "prefix", "suffix", "value_suffix")
    list_select_related = ("environment",)

    def get_readonly_fields(self, request: HttpRequest, obj: VariableNames | None = None) -> tuple[str, ...]:
        return ("environment",) if obj else ()
