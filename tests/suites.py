"""The reference data that lies beside the project, or where PORTAL_SUITES says."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("PORTAL_SUITES", Path(__file__).resolve().parent.parent.parent / "shared" / "suites"))


def file(name: str) -> Path:
    """One file of a suite; where there are no suites the test is skipped, with a listed reason."""
    if not FOLDER.is_dir():
        pytest.skip("the reference suites are not here: PORTAL_SUITES names their folder")
    return FOLDER / name
