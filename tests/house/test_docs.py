"""The documents keep up with the product."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _variables() -> set[str]:
    text = (ROOT / "portal" / "settings.py").read_text(encoding="utf-8")
    return set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', text))


def test_every_setting_is_explained() -> None:
    explained = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    missing = sorted(name for name in _variables() if f"`{name}`" not in explained)
    assert _variables()
    assert not missing, f"docs/settings.md does not explain {missing}"


def test_nothing_is_explained_that_is_not_there() -> None:
    explained = set(re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs" / "settings.md").read_text(encoding="utf-8"), re.M))
    assert explained <= _variables()


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{n}.md" for n in ("architecture", "recipes", "settings"))])
def test_links_between_documents_lead_somewhere(name: str) -> None:
    path = ROOT / name
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{name} links to {target}"


def test_no_document_or_source_names_a_place_on_somebodys_machine() -> None:
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "portal").rglob("*.py")]
    assert not [path for path in paths if re.search(r"/(home|root|Users)/\w", path.read_text(encoding="utf-8"))]
