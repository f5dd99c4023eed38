"""The command that starts a program through `launch.py`."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LAUNCHER = str(Path(__file__).with_name("launch.py"))
NOBODY_ELSE: dict[str, Any] = {"uid": None, "gid": None, "namespace": False}


def command(argv: Sequence[str], identity: dict[str, Any], *, dies_by: int) -> list[str]:
    """`argv` as a child of this process that the kernel sends the signal `dies_by` when this process ends."""
    orders = {**identity, "dies_by": dies_by, "parent": os.getpid()}
    return [sys.executable, "-I", "-S", LAUNCHER, json.dumps(orders), *argv]
