"""What the demo is about, by name: whoever seeds it, simulates it or shows it says the same."""

import math
from datetime import UTC, datetime, timedelta

ENVIRONMENT = "production"
SERVICE = "checkout"
# Two builds stand side by side: a release goes to the one that is idle, as blue-green deployments do.
FLAG = "checkout-build"
BUILDS = ("blue", "green")
# Chance would put anything from ten to thirty of four hundred customers into the first 5 %. With this salt it is 21,
# and 101 of them into 25 %: every newcomer sees the same canary.
SALT = "demo-shop-14"
PLANS = {build: f"checkout-to-{build}" for build in BUILDS}
CAPTAIN = "dana"
FIRST_LIVE_VERSION = "2026.47"

REQUESTS = "http_requests_total"
ERRORS = "http_errors_total"
LATENCY = "http_request_seconds"
LATENCY_BOUNDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2.0, 4.0)  # seconds

# How these services do on a good day: requests a second, the share that fails, and the median in seconds.
REQUESTS_A_VISIT = 8
VISITS_A_SECOND = 20.0
GOOD_DAYS = {
    "checkout": (VISITS_A_SECOND * REQUESTS_A_VISIT, 0.004, 0.14),
    "search": (240.0, 0.002, 0.06),
    "payments": (45.0, 0.003, 0.22),
}
SPREAD = 0.45  # of the latencies' logarithm

# What the checkout's machines say of themselves, once a minute.
DISK = "disk_used_gb"
CPU = "cpu_percent"
INSTANCES = "instances"
COST = "cost_eur"
MACHINES = 6
MACHINE_PRICE = 42.0  # EUR for 30 days
DISK_A_DAY = 2.6  # GB
DISK_SINCE = datetime(2026, 1, 1, tzinfo=UTC)

KEYS_FILE = "demo-keys.json"
CONTROL_FILE = "demo-control.json"


def tide(at: datetime) -> float:
    """The share of the busiest hour's visits: most in the early evening, few at night."""
    hour = at.hour + at.minute / 60 + at.second / 3600
    return 0.78 + 0.22 * math.cos((hour - 18) / 24 * math.tau)


def disk(at: datetime) -> float:
    """Gigabytes: a little more every day, most of it while people shop."""
    days = (at - DISK_SINCE) / timedelta(days=1)
    return 180 + DISK_A_DAY * (days + 0.08 * math.sin((days % 1 - 0.25) * math.tau))


def cpu(at: datetime) -> float:
    """Percent of each machine: there are more of them than the busiest hour needs."""
    return 36.0 * tide(at)


def machines(at: datetime) -> dict[str, float]:
    """What they say at that moment; the cost is that of the minute."""
    cost = MACHINES * MACHINE_PRICE / (30 * 24 * 60)
    return {DISK: round(disk(at), 3), CPU: round(cpu(at), 2), INSTANCES: float(MACHINES), COST: round(cost, 6)}


def other(build: str) -> str:
    return BUILDS[1 - BUILDS.index(build)]
