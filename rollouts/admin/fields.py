"""JSON typed into a form."""

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput

from rollouts.engine.reading import json_faults


class JsonField(forms.JSONField):
    """Refuses what the store could not keep; shows what is stored on several lines, and what was typed as typed."""

    def __init__(self, *, rows: int = 6, **options: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": rows, "cols": 80, "spellcheck": "false"}), **options)

    def to_python(self, value: Any) -> Any:
        found = super().to_python(value)
        for path, message in json_faults(found, ""):
            # The path may hold the very character that cannot be shown.
            raise ValidationError(f"{path or 'the value'}: {message}".encode("utf-8", "replace").decode())
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        return None if data is None else InvalidJSONInput(data)

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, InvalidJSONInput):
            return value
        return json.dumps(value, indent=2, ensure_ascii=False)
