"""A skip that is not on the committed list with its reason fails the run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import skips
from tests.running import ROOT

CONFTEST = """
from pathlib import Path
from tests import skips

def pytest_configure(config):
    config.pluginmanager.register(skips.Watch(Path(__file__).with_name("skips.txt")))
"""
SKIPS = """
import pytest

def test_runs():
    pass

@pytest.mark.parametrize("n", [1, 2])
def test_is_skipped(n):
    pytest.skip("needs a moon")
"""


def run(folder: Path, tests: str, listed: str) -> "subprocess.CompletedProcess[str]":
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(tests)
    (folder / "skips.txt").write_text(listed)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(folder), str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_unlisted_skip_fails_the_run_and_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, SKIPS, "# nothing may be skipped\n")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "test_it.py::test_is_skipped[1]: needs a moon" in done.stdout
    assert "1 passed, 2 skipped" in done.stdout


def test_a_listed_skip_passes(tmp_path: Path) -> None:
    assert run(tmp_path, SKIPS, "test_it.py::test_is_skipped[*: needs a moon\n").returncode == pytest.ExitCode.OK


def test_a_listed_skip_for_another_reason_fails(tmp_path: Path) -> None:
    done = run(tmp_path, SKIPS, "test_it.py::test_is_skipped*: needs a sun\n")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


def test_a_module_that_skips_itself_fails_the_run(tmp_path: Path) -> None:
    tests = 'import pytest\npytest.importorskip("no_such_module")\ndef test_never():\n    pass\n'
    (tmp_path / "test_other.py").write_text("def test_runs():\n    pass\n")
    done = run(tmp_path, tests, "")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "no_such_module" in done.stdout


def test_an_expected_failure_counts_as_a_skip(tmp_path: Path) -> None:
    tests = 'import pytest\n@pytest.mark.xfail(reason="later")\ndef test_broken():\n    assert False\n'
    done = run(tmp_path, tests, "")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "test_it.py::test_broken: later" in done.stdout


def test_a_list_entry_without_its_reason_is_refused(tmp_path: Path) -> None:
    listed = tmp_path / "skips.txt"
    listed.write_text("test_it.py::test_is_skipped\n")
    with pytest.raises(pytest.UsageError, match="needs `test: reason`"):
        skips.Watch(listed)


def test_each_listed_skip_names_a_test_that_there_is() -> None:
    for test, _ in skips.Watch(ROOT / "tests" / "skips.txt").allowed:
        path, _, name = test.replace("[[]", "[").partition("::")
        assert f"def {name.split('[')[0].rstrip('*')}" in (ROOT / path).read_text()
