"""What watching this machine costs: processor time of one look, as a share of a core at the usual interval."""

import time
from typing import Any

from monitoring.sources import Asked
from monitoring.sources.host import Host

LOOKS = 200
INTERVAL = 15  # seconds, as a source has it by itself


def run() -> dict[str, Any]:
    """Reading alone; keeping some forty samples is the store's, and counted there."""
    agent = Host()
    agent.pull(Asked({}, time.time(), 5.0))
    began = time.process_time()
    for _ in range(LOOKS):
        pulled = agent.pull(Asked({}, time.time(), 5.0))
    spent = (time.process_time() - began) / LOOKS
    return {
        "samples": len(pulled.written.samples),
        "ms_a_look": round(spent * 1000, 3),
        "percent_of_a_core_every_15_s": round(100 * spent / INTERVAL, 4),
        "percent_of_a_core_every_1_s": round(100 * spent, 4),
    }
