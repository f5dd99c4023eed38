"""The sweeps of monitoring."""

from monitoring.actions import (
    alerts,
    capacities,
    cumulative,
    digest,
    errors,
    escalations,
    events,
    exposures,
    habits,
    judging,
    observations,
    outbox,
    partitions,
    postmortems,
    pulling,
    recommendations,
    rejections,
    reported,
    reports,
    responses,
    rollups,
    scaling,
    series,
    slos,
    statuspage,
    watchdogs,
)
from portal import jobs


@jobs.sweep("monitoring.judge", every=1.0)
def judge() -> int:
    return judging.run()


@jobs.sweep("monitoring.respond", every=1.0)
def respond() -> int:
    return responses.execute_due()


@jobs.sweep("monitoring.pull", every=1.0)
def pull() -> int:
    return pulling.pull()


@jobs.sweep("monitoring.deliver", every=1.0)
def deliver() -> int:
    return outbox.deliver()


@jobs.sweep("monitoring.roll_up", every=5.0)
def roll_up() -> int:
    """For so long that a cycle ends well within three intervals; its heartbeat tells what it left over."""
    rollups.roll_up(within=8.0)
    return rollups.backlog()


@jobs.sweep("monitoring.keep_partitions", every=60.0)
def keep_partitions() -> int:
    return partitions.keep() + observations.forget_old() + rejections.forget_old() + cumulative.forget_old()


@jobs.sweep("monitoring.tidy_exposures", every=60.0)
def tidy_exposures() -> int:
    return exposures.tidy() + events.forget_old()


@jobs.sweep("monitoring.tidy_errors", every=60.0)
def tidy_errors() -> int:
    return errors.forget_old()


@jobs.sweep("monitoring.tidy_series", every=600.0)
def tidy_series() -> int:
    return series.forget_old()


@jobs.sweep("monitoring.digest", every=30.0)
def send_digests() -> int:
    return digest.send_due()


@jobs.sweep("monitoring.tell_held", every=1.0)
def tell_held() -> int:
    return alerts.tell_held()


@jobs.sweep(watchdogs.SWEEP, every=5.0)
def watch_reports() -> int:
    return reported.notice_silence() + watchdogs.notice_silence()


@jobs.sweep("monitoring.keep_status_page", every=5.0)
def keep_status_page() -> int:
    return statuspage.keep()


@jobs.sweep("monitoring.escalate", every=1.0)
def escalate() -> int:
    return escalations.run_due()


@jobs.sweep("monitoring.keep_budgets", every=30.0)
def keep_budgets() -> int:
    return slos.keep_budgets()


@jobs.sweep("monitoring.keep_capacities", every=60.0)
def keep_capacities() -> int:
    return capacities.keep()


@jobs.sweep("monitoring.scale", every=5.0)
def scale() -> int:
    return scaling.run()


@jobs.sweep("monitoring.report", every=30.0)
def report() -> int:
    return reports.send_due()


@jobs.sweep("monitoring.advise", every=300.0)
def advise() -> int:
    return recommendations.look() + recommendations.measure_due()


@jobs.sweep("monitoring.remind_post_mortems", every=60.0)
def remind_post_mortems() -> int:
    return postmortems.remind_due()


@jobs.sweep("monitoring.measure_habits", every=300.0)
def measure_habits() -> int:
    return habits.measure()
