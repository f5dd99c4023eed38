"""A threshold's bounds and values as tables show them."""

from monitoring.judging import MET, Change
from monitoring.models import Threshold

LEVELS = ("error", "critical", "warning")


def bound(threshold: Threshold, level: str = "") -> str:
    """As in: > 3 %; > 1.5 × the baseline. Of the level, or of the first that there is."""
    if threshold.source:
        return "–"
    levels = (level, *LEVELS) if level in LEVELS else LEVELS
    number = next((found for name in levels if (found := getattr(threshold, name)) is not None), None)
    if number is None:
        return "–"
    sign = MET.get(threshold.operator, threshold.operator)
    if threshold.members:
        return f"{sign} {_figure(number)} of {len(threshold.members)}"
    if threshold.baseline_change == Change.DEVIATIONS:
        return f"{sign} {_figure(number)} deviations"
    if threshold.baseline_kind and threshold.baseline_change == Change.RATIO:
        return f"{sign} {_figure(number)} × the baseline"
    if threshold.baseline_kind:
        return f"{sign} the baseline + {value(threshold, number)}"
    return f"{sign} {value(threshold, number)}"


def value(threshold: Threshold, number: float | None) -> str:
    """A share of two counters in percent, anything else as it is."""
    if number is None:
        return "–" if threshold.source else "no data"
    return f"{_figure(number * 100)} %" if threshold.denominator else _figure(number)


def _figure(number: float) -> str:
    return f"{number:.4g}"
