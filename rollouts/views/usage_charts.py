"""What the chart of a flag's use shows: units that were shown each variant and evaluations, minute by minute."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from monitoring.queries import exposures
from rollouts.models import FlagConfig

STEP = timedelta(minutes=1)
WHOLE = timedelta(hours=1)
TAIL = timedelta(minutes=3)  # what may still change by counts that come late
ERROR = "error"


def snapshot(config: FlagConfig) -> dict[str, Any]:
    """The whole chart, as a page first asks for it."""
    return _frame(config, WHOLE)


def tail(config: FlagConfig) -> dict[str, Any]:
    """Its newest points, as they are told each second."""
    return _frame(config, TAIL)


def _frame(config: FlagConfig, length: timedelta) -> dict[str, Any]:
    until = timezone.now().replace(second=0, microsecond=0)
    times = [until - back * STEP for back in range(length // STEP, -1, -1)]
    cells = exposures.counts(config.environment, config.flag.key, since=times[0], until=until + STEP)
    names = config.flag.variant_keys() + ([ERROR] if any(not cell.variant for cell in cells) else [])
    counted = {(cell.time, cell.variant or ERROR): (cell.exposures, cell.evaluations) for cell in cells}
    return {
        "step": int(STEP.total_seconds() * 1000),
        "panels": [_panel("x", "Units that were shown it", names), _panel("e", "Evaluations", names)],
        "series": {
            f"{key}:{name}": [[_ms(time), counted.get((time, name), (0, 0))[which]] for time in times]
            for which, key in enumerate("xe")
            for name in names
        },
        "markers": [],
    }


def _panel(key: str, title: str, names: list[str]) -> dict[str, Any]:
    shown = {"key": key, "title": f"{title}, a minute", "unit": "", "lines": names, "palette": True}
    return shown | {"operator": "", "bound": None, "against": "", "window": 60}


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
