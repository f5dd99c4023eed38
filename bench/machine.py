"""The figures of the machine that a run was made on: without them the others say nothing."""

import platform
import time
from typing import Any

import psutil


def figures() -> dict[str, Any]:
    """Cores, memory, load, and how long a fixed piece of Python takes, in milliseconds."""
    began = time.perf_counter()
    total = 0
    for number in range(1_000_000):
        total += number & 7
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_1min": round(psutil.getloadavg()[0], 2),
        "million_additions_ms": round((time.perf_counter() - began) * 1000, 1),
    }


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile; `share` in 0…1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
