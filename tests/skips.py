"""A skipped or expected-to-fail test that is not on the committed list with its reason fails the run."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest


class Watch:
    """Plugin of the process that reports: it sees every worker's results."""

    def __init__(self, committed: Path) -> None:
        self.committed = committed
        self.allowed = list(_entries(committed.read_text(encoding="utf-8")))
        self.unlisted: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self._judge(report.nodeid, getattr(report, "wasxfail", "") or _reason(report.longrepr))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._judge(report.nodeid, _reason(report.longrepr))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unlisted and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.unlisted:
            return
        terminalreporter.section(f"skipped, but not on the list in {self.committed.name}: the run fails", red=True)
        for line in self.unlisted:
            terminalreporter.line(line)

    def _judge(self, nodeid: str, reason: str) -> None:
        # A parallel run appends the test's group: `test@group`.
        names = {nodeid, nodeid.rpartition("@")[0]}
        listed = any(
            fnmatchcase(name, test) and fnmatchcase(reason, why) for test, why in self.allowed for name in names
        )
        line = f"{nodeid}: {reason}"
        if not listed and line not in self.unlisted:
            self.unlisted.append(line)


def _entries(text: str) -> list[tuple[str, str]]:
    """Lines of `test: reason`, both with * and ? as in file names; # begins a comment."""
    entries = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            test, separator, reason = line.partition(": ")
            if not separator or not reason.strip():
                raise pytest.UsageError(f"the skip list needs `test: reason`, got {line!r}")
            entries.append((_literal(test.strip()), reason.strip()))
    return entries


def _literal(test: str) -> str:
    """A node id's [parameters] are no character class."""
    return test.replace("[", "[[]")


def _reason(longrepr: object) -> str:
    text = str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")
