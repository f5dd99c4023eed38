"""What browsers measure of a page: the metrics, the values that can be, and the bounds of the field.

The bounds are those of the Web Vitals programme (web.dev/articles/vitals, and the articles on FCP and TTFB), judged at
the 75th percentile of page views: https://web.dev/articles/defining-core-web-vitals-thresholds.
"""

from dataclasses import dataclass
from enum import StrEnum

PERCENT = 75.0
# Fewer page views than this say nothing of the others.
ENOUGH = 10
LONGEST = 600.0  # seconds: what took longer was asleep


class Rating(StrEnum):
    """What a value is worth; without (enough) data it is worth nothing, and surely not good."""

    GOOD = "good"
    NEEDS_IMPROVEMENT = "needs_improvement"
    POOR = "poor"
    TOO_FEW = "too_few"
    NO_DATA = "no_data"


@dataclass(frozen=True, slots=True)
class Vital:
    """One of them. `good`: up to here it is good; `poor`: above this it is poor; None where nobody publishes bounds."""

    key: str  # as the script says it
    metric: str
    name: str
    unit: str
    good: float | None
    poor: float | None
    most: float  # the largest value that can be
    description: str

    @property
    def short(self) -> str:
        return self.key.upper()


VITALS = (
    Vital("lcp", "web_vitals_lcp_seconds", "Largest contentful paint", "s", 2.5, 4.0, LONGEST,
          "until the largest picture or text is there"),
    Vital("inp", "web_vitals_inp_seconds", "Interaction to next paint", "s", 0.2, 0.5, LONGEST,
          "from pressing a key or button until the page shows it"),
    Vital("cls", "web_vitals_cls", "Cumulative layout shift", "", 0.1, 0.25, 100.0,
          "how much of the page moves while it is read"),
    Vital("fcp", "web_vitals_fcp_seconds", "First contentful paint", "s", 1.8, 3.0, LONGEST,
          "until anything at all is there"),
    Vital("ttfb", "web_vitals_ttfb_seconds", "Time to first byte", "s", 0.8, 1.8, LONGEST,
          "until the server begins to answer"),
)  # fmt: skip
TIMINGS = (
    Vital("load", "page_load_seconds", "Page load", "s", None, None, LONGEST,
          "until the page and all that it names is loaded"),
    Vital("render", "render_duration_seconds", "Render time", "s", None, None, LONGEST,
          "from the last byte of the document until it is complete"),
)  # fmt: skip
MEASURED = {one.key: one for one in (*VITALS, *TIMINGS)}
METRICS = tuple(one.metric for one in MEASURED.values())


def rate(vital: Vital, value: float | None, count: float) -> Rating:
    """What this 75th percentile of so many page views is worth."""
    if value is None or not count or vital.good is None or vital.poor is None:
        return Rating.NO_DATA
    if count < ENOUGH:
        return Rating.TOO_FEW
    return Rating.GOOD if value <= vital.good else Rating.POOR if value > vital.poor else Rating.NEEDS_IMPROVEMENT
