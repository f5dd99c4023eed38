"""Every module says its one job, and imports at its top."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _sources() -> list[Path]:
    packages = [ROOT / name for name in ("portal", "rollouts", "monitoring", "feedback")]
    return [path for package in packages for path in sorted(package.rglob("*.py"))]


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_modules_first_line_says_its_one_job(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if tree.body and path.parent.name != "migrations":
        assert ast.get_docstring(tree), "the module says nothing of itself"


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_stand_at_the_top(path: Path) -> None:
    """A circle hidden in a function is still a circle; only `ready()` may import late."""
    if path.name == "apps.py":
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            late = [inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)]
            assert not late, f"{node.name} imports in its body, line {late[0].lineno}"


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc"])
def test_no_module_is_a_catch_all(name: str) -> None:
    assert not [path for path in _sources() if path.stem == name]
