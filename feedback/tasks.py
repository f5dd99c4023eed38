"""The sweep of feedback: ratings that the metric did not take at once."""

from django.db import transaction

from feedback.actions import satisfaction
from feedback.models import Entry
from portal import jobs

AT_ONCE = 200


@jobs.sweep("feedback.count", every=30.0)
def count() -> int:
    """Try again to count ratings that were refused; each is due again later, so no bad one holds up the rest."""
    done = 0
    now = jobs.database_now()
    while done < AT_ONCE:
        with transaction.atomic():
            entry = jobs.claim(Entry.objects.with_places().uncounted(now))
            if entry is None:
                return done
            satisfaction.count(entry)
        done += 1
    return done
