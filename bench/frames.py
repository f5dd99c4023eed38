"""The chart frame that socket benchmarks send: about 2 KB, another one each second."""

import json
import time
from typing import Any


def frame() -> dict[str, Any]:
    now = int(time.time())
    return {"series": {"errors": [[(now - age) * 1000, (now - age) % 17 / 3] for age in range(80)]}}


def frame_text(number: int, at: int) -> str:
    return json.dumps({"topic": "chart:bench:1", "v": 1, "seq": number, "t": at} | frame(), separators=(",", ":"))
