"""What the portal's own `/metrics` says of the store: what waits to get out, and rows outside their partitions."""

from django.db import connection
from django.db.models import Count
from prometheus_client.core import Metric

from monitoring.models import OutboxMessage
from portal.selfwatch import gauge

DEFAULTS = ("monitoring_sample_default", "monitoring_minuterollup_default", "monitoring_hourrollup_default")
COUNTED = 10_000  # rows of a default partition: that there are any is what matters


def outbox() -> list[Metric]:
    """Messages that wait or were given up, and how long the oldest has been due."""
    states = (OutboxMessage.State.PENDING, OutboxMessage.State.DEAD)
    counted = dict(
        OutboxMessage.objects.filter(state__in=states)
        .order_by()
        .values_list("state")
        .annotate(count=Count("id"))
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) "
            "FROM monitoring_outboxmessage WHERE state = 'pending'"
        )
        oldest = float(cursor.fetchone()[0])
    return [
        gauge(
            "flightdeck_outbox_messages", "Messages that wait, or were given up", ("state",),
            [((state.value,), float(counted.get(state.value, 0))) for state in states],
        ),
        gauge("flightdeck_outbox_oldest_pending_seconds", "Age of the oldest message that waits", (), [((), oldest)]),
    ]  # fmt: skip


def partitions() -> list[Metric]:
    """Rows that no partition of their time has taken; they are counted up to 10 000."""
    rows = []
    with connection.cursor() as cursor:
        for table in DEFAULTS:
            cursor.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {COUNTED}) AS counted")
            rows.append(((table.removesuffix("_default"),), float(cursor.fetchone()[0])))
    return [gauge("flightdeck_partition_default_rows", "Rows outside their partitions", ("table",), rows)]
