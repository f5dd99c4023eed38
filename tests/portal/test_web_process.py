"""The web process once it is up: nothing is left for the first request to load."""

import subprocess
import sys

from tests.running import ROOT

AS_IT_STARTS = """
import gc, sys
import portal.asgi
assert "portal.api.urls" not in sys.modules
portal.asgi._load_what_stays()
assert "portal.api.urls" in sys.modules
print(gc.get_freeze_count(), len(gc.get_objects()))
"""


def test_all_doors_are_loaded_and_no_collection_looks_through_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_IT_STARTS], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    frozen, looked_through = map(int, done.stdout.split())
    assert frozen > 100_000
    assert looked_through < frozen / 20
