"""How the channels do: what waits for each, what died, and why the last attempt failed."""

from django.db.models import Count, Min, OuterRef, Q, QuerySet, Subquery

from monitoring.models import Channel, OutboxMessage

State = OutboxMessage.State


def channels() -> "QuerySet[Channel]":
    """Each with `waiting`, `dead`, `oldest` (of what waits) and `last_error` (of what has not gone out)."""
    failed = OutboxMessage.objects.filter(channel=OuterRef("pk"), state__in=[State.PENDING, State.DEAD])
    return Channel.objects.select_related("owner").annotate(
        waiting=Count("messages", filter=Q(messages__state=State.PENDING)),
        dead=Count("messages", filter=Q(messages__state=State.DEAD)),
        oldest=Min("messages__created_at", filter=Q(messages__state=State.PENDING)),
        last_error=Subquery(failed.exclude(last_error="").order_by("-id").values("last_error")[:1]),
    )


def dead_letters() -> "QuerySet[OutboxMessage]":
    """What nobody took and nobody tries to send any more."""
    return OutboxMessage.objects.filter(state=State.DEAD).select_related("channel").order_by("-id")
