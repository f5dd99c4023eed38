"""`manage.py verify_audit`: proves that the sealed audit trail is whole and unchanged."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal import audit
from portal.models import AuditEntry


class Command(BaseCommand):
    help = "Recompute the hash chain of the audit trail; exits with 1 and says where when it does not match."
    requires_system_checks = ()

    def handle(self, *_: Any, **__: Any) -> None:
        wrong = audit.broken_links()
        if wrong:
            raise CommandError("the audit trail was tampered with:\n" + "\n".join(wrong))
        last = AuditEntry.objects.exclude(position=None).order_by("-position").first()
        waiting = AuditEntry.objects.filter(position=None).count()
        self.stdout.write(
            f"{last.position if last else 0} entries, chain whole, head {last.digest if last else '-'}; "
            f"{waiting} not sealed yet"
        )
