"""The shapes of feedback in REST, as the schema shows them."""

from typing import Any

from rest_framework import serializers

from feedback.models import Entry
from feedback.queries import UNTOLD
from portal.drf import Serializer

LANGUAGE = r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*$"


class Words(serializers.CharField):
    """A string as it came: no number turned into one, no white space cut off."""

    def __init__(self, **given: Any) -> None:
        super().__init__(trim_whitespace=False, **given)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class Stars(serializers.IntegerField):
    """A whole number from 1 to 5: no "5", no true, no 4.0."""

    def __init__(self, **given: Any) -> None:
        super().__init__(min_value=1, max_value=5, **given)

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return int(super().to_internal_value(data))


class EntryCreate(Serializer):
    service = Words(max_length=128, help_text="the service's key")
    environment = Words(
        max_length=128, required=False, allow_null=True, help_text="the environment's key; the API key's own by default"
    )
    kind = serializers.ChoiceField(Entry.Kind.choices, required=False)
    rating = Stars(required=False, allow_null=True, help_text="a rating or a text is required")
    text = Words(max_length=Entry.MAX_TEXT, required=False, allow_blank=True)
    unit = Words(max_length=200, required=False, allow_blank=True, help_text="the identity that flags are decided for")
    email = serializers.EmailField(max_length=254, required=False, allow_blank=True)
    language = serializers.RegexField(
        LANGUAGE,
        max_length=35,
        required=False,
        allow_blank=True,
        help_text="of the text: en, pl-PL; guessed by default",
    )
    page = Words(max_length=Entry.MAX_PAGE, required=False, allow_blank=True, help_text="where the writer was")
    labels = serializers.DictField(
        child=Words(max_length=200, allow_blank=True), required=False, help_text="release, flag, variant and any others"
    )


class EntryRow(serializers.ModelSerializer[Entry]):
    """An entry in a list."""

    service = serializers.CharField(source="service.key", read_only=True)
    environment = serializers.CharField(source="environment.key", default=None, allow_null=True, read_only=True)
    labels = serializers.DictField(child=serializers.CharField())

    class Meta:
        model = Entry
        fields: tuple[str, ...] = (
            "id", "service", "environment", "kind", "rating", "text", "unit", "language", "page", "labels",
            "sentiment", "score", "confidence", "engine", "priority", "priority_because", "created_at",
        )  # fmt: skip


class EntryShape(EntryRow):
    """One entry, whole."""

    words = serializers.ListField(child=serializers.CharField(), help_text="that decided the sentiment")

    class Meta(EntryRow.Meta):
        fields = (*EntryRow.Meta.fields, "words", "uncounted_because")


class EntryAddressed(EntryShape):
    """One entry, with its writer's address for whoever may operate there, null for all others."""

    email = serializers.SerializerMethodField()

    class Meta(EntryShape.Meta):
        fields = (*EntryShape.Meta.fields, "email")

    def get_email(self, entry: Entry) -> str | None:
        return entry.email if self.context["addressed"] else None


class SearchShape(serializers.Serializer[Any]):
    """The filters of the list."""

    service = serializers.CharField(max_length=128, required=False)
    environment = serializers.CharField(max_length=128, required=False)
    kind = serializers.ChoiceField(Entry.Kind.choices, required=False)
    sentiment = serializers.ChoiceField([*Entry.Sentiment.choices, (UNTOLD, UNTOLD)], required=False)
    priority = serializers.ChoiceField(Entry.Priority.choices, required=False)
    rating = serializers.IntegerField(min_value=1, max_value=5, required=False)
    release = serializers.CharField(max_length=200, required=False)
    flag = serializers.CharField(max_length=200, required=False)
    variant = serializers.CharField(max_length=200, required=False)
    since = serializers.DateTimeField(required=False, help_text="RFC 3339, inclusive")
    until = serializers.DateTimeField(required=False, help_text="RFC 3339, exclusive")
    search = serializers.CharField(max_length=200, required=False, help_text="somewhere in the text")
