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


# (contract, module, offence, what is said of it): all in one tree, since each look at it takes seconds.
OFFENCES = [
    ("apps-look-down", "feedback/offence.py", "from rollouts import models", "feedback.offence -> rollouts.models"),
    ("apps-look-down", "rollouts/models/offence.py", "import feedback", "rollouts.models.offence -> feedback"),
    (
        "apps-look-down", "monitoring/models/offence.py", "from rollouts import models",
        "monitoring.models.offence -> rollouts.models",
    ),
    (
        "only-wiring-knows-the-apps", "portal/audit.py", "from monitoring import models as offence",
        "portal.audit -> monitoring.models",
    ),
    (
        "only-wiring-knows-the-apps", "portal/supervise/offence.py", "from portal import urls",
        "portal.supervise.offence -> portal.urls",
    ),
    (
        "the-demo-is-a-stranger", "portal/demo/people.py", "from portal import models as offence",
        "portal.demo.people -> portal.models",
    ),
    (
        "the-demo-is-a-stranger", "portal/demo/offence.py", "from rollouts import models",
        "portal.demo.offence -> rollouts.models",
    ),
    (
        "layers-inside-an-app", "rollouts/actions/offence.py", "from rollouts import api",
        "rollouts.actions.offence -> rollouts.api",
    ),
    (
        "layers-inside-an-app", "monitoring/models/offence.py", "from monitoring import actions",
        "monitoring.models.offence -> monitoring.actions",
    ),
    (
        "judgement-is-pure", "rollouts/engine/offence.py", "from django.utils import timezone",
        "rollouts.engine.offence -> django",
    ),
    ("judgement-is-pure", "rollouts/engine/offence.py", "import random", "rollouts.engine.offence -> random"),
    (
        "judgement-is-pure", "rollouts/engine/offence.py", "from portal import env",
        "rollouts.engine.offence -> portal.env",
    ),
    (
        "judgement-is-pure", "monitoring/judging.py", "from portal import audit as offence",
        "monitoring.judging -> portal.audit",
    ),
]  # fmt: skip


def commit(tree: Path, module: str, offence: str) -> None:
    with (tree / module).open("a") as file:
        file.write(f"\n{offence}\n")


def test_broken_contracts_fail_by_their_names_and_each_offence_by_its_own(tree: Path) -> None:
    for _, module, offence, _ in OFFENCES:
        commit(tree, module, offence)
    done = lint(tree)
    assert done.returncode == 1, done.stdout
    assert {contract for contract, *_ in OFFENCES} == set(CONTRACTS)
    assert [name for name in CONTRACTS if f"{CONTRACTS[name]['name']} BROKEN" not in done.stdout] == []
    # Each contract tells its own offences beneath its name.
    told = done.stdout.partition("Broken contracts")[2]
    for contract, _, _, words in OFFENCES:
        own = told.partition(CONTRACTS[contract]["name"])[2]
        assert words in own, words


def test_a_module_of_no_layer_fails(tree: Path) -> None:
    commit(tree, "monitoring/unheard_of.py", "x = 1")
    done = lint(tree)
    assert done.returncode == 1, done.stdout
    assert f"{CONTRACTS['layers-inside-an-app']['name']} BROKEN" in done.stdout
    assert "unheard_of" in done.stdout


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
