"""The demo is a program of its own: it uses the portal as any customer would."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {"openfeature", "httpx"}


@pytest.mark.parametrize("path", sorted((ROOT / "portal" / "demo").rglob("*.py")), ids=lambda path: path.name)
def test_the_demo_imports_nothing_of_ours(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first = name.partition(".")[0]
            assert first in sys.stdlib_module_names | ALLOWED or name.startswith("portal.demo."), f"imports {name}"
