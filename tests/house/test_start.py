"""What every process of the portal waits for when it starts."""

import subprocess
import sys

from tests.running import ROOT, clean_environment

ASK = "import sys, django; django.setup(); print(*sorted({'scipy', 'opentelemetry.sdk'} & set(sys.modules)))"


def test_no_process_loads_what_takes_a_second_and_few_need() -> None:
    """SciPy takes a second of each start, the OpenTelemetry SDK half of one (redis-py loads it where it finds it)."""
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=ROOT, env=clean_environment() | {"DJANGO_SETTINGS_MODULE": "portal.settings"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
