"""Lines of the audit trail about the month before: written at once, in the order of their times, and marked."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model

from portal import audit
from portal.audit import Actor
from portal.management.demo.cast import MARK
from portal.models import AuditEntry


class Chronicle:
    """Collects what happened; `write` puts it into the trail, where the sealer finds it like any other."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def tell(
        self,
        verb: str,
        thing: Model,
        *,
        at: datetime,
        by: Actor,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        because: str = "",
    ) -> None:
        kind, identity = audit.kind_of(by)
        self.entries.append(
            AuditEntry(
                at=at,
                actor_kind=kind,
                actor_id=identity[:100],
                actor=audit.describe(by)[:200],
                verb=verb,
                object_type=thing._meta.label_lower,
                object_id=str(thing.pk),
                object_label=str(thing)[:300],
                before=_plain(before),
                after=_plain(after),
                because=because,
                request_id=MARK,
            )
        )

    def write(self) -> int:
        self.entries.sort(key=lambda entry: entry.at)
        AuditEntry.objects.bulk_create(self.entries, batch_size=1000)
        return len(self.entries)


def _plain(value: Mapping[str, Any] | None) -> Any:
    """As it will be read back: the hash of a line does not depend on when it is taken."""
    return None if value is None else json.loads(json.dumps(value, cls=DjangoJSONEncoder))
