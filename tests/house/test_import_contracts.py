"""The import contracts hold, are about every module, and fail when they are broken."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.running import ROOT

APPS = ("rollouts", "monitoring", "feedback")
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
# What DESIGN calls pure, wherever it comes to be.
PURE = {
    "rollouts": ("engine", "progress", "statistics"),
    "monitoring": ("judging", "forecasting", "trends", "limits", "scaling", "savings", "histogram"),
    "feedback": ("sentiment", "priority", "themes", "pii"),
}


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-logo",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def modules(package: Path) -> set[str]:
    """The modules and packages right inside `package`."""
    files = {path.stem for path in package.glob("*.py") if path.stem != "__init__"}
    return files | {path.parent.name for path in package.glob("*/__init__.py")}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of our code alone, to be broken."""
    for package in ("portal", *APPS):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("contract", "module", "offence"),
    [
        ("apps-look-down", "feedback/offence.py", "from rollouts import models"),
        ("apps-look-down", "rollouts/models/offence.py", "import feedback"),
        ("apps-look-down", "monitoring/models/offence.py", "from rollouts import models"),
        ("only-wiring-knows-the-apps", "portal/audit.py", "from monitoring import models as offence"),
        ("only-wiring-knows-the-apps", "portal/supervise/offence.py", "from portal import urls"),
        ("the-demo-is-a-stranger", "portal/demo/people.py", "from portal import models as offence"),
        ("the-demo-is-a-stranger", "portal/demo/offence.py", "from rollouts import models"),
        ("layers-inside-an-app", "rollouts/actions/offence.py", "from rollouts import api"),
        ("layers-inside-an-app", "monitoring/models/offence.py", "from monitoring import actions"),
        ("layers-inside-an-app", "monitoring/unheard_of.py", "x = 1"),
        ("judgement-is-pure", "rollouts/engine/offence.py", "from django.utils import timezone"),
        ("judgement-is-pure", "rollouts/engine/offence.py", "import random"),
        ("judgement-is-pure", "monitoring/judging.py", "from portal import audit as offence"),
        ("judgement-is-pure", "rollouts/engine/offence.py", "from portal import env"),
    ],
)
def test_a_broken_contract_fails_by_its_name(tree: Path, contract: str, module: str, offence: str) -> None:
    with (tree / module).open("a") as file:
        file.write(f"\n{offence}\n")
    done = lint(tree)
    assert done.returncode == 1, done.stdout
    assert f"{CONTRACTS[contract]['name']} BROKEN" in done.stdout


def test_each_module_of_portal_is_wiring_or_kernel() -> None:
    contract = CONTRACTS["only-wiring-knows-the-apps"]
    kernel = set(contract["source_modules"])
    wiring = set(contract["forbidden_modules"]) - set(APPS)
    assert not kernel & wiring
    assert {f"portal.{name}" for name in modules(ROOT / "portal")} == kernel | wiring


def test_what_is_pure_by_design_is_in_the_contract() -> None:
    named = set(CONTRACTS["judgement-is-pure"]["source_modules"])
    there = {f"{app}.{name}" for app, names in PURE.items() for name in names if name in modules(ROOT / app)}
    assert there <= named
