"""Questions about samples: what windows held, what came last, what a chart shows."""

from monitoring.queries.points import Point, Points, latest, matching, points
from monitoring.queries.rollups import Chart, chart, whole
from monitoring.queries.windows import Aggregate, Window, aggregates, is_aggregation

__all__ = [
    "Aggregate",
    "Chart",
    "Point",
    "Points",
    "Window",
    "aggregates",
    "chart",
    "is_aggregation",
    "latest",
    "matching",
    "points",
    "whole",
]
