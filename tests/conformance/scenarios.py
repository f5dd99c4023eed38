"""Gherkin as written by others: every scenario of a feature file, run by the steps that a test has for it."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gherkin.parser import Parser
from gherkin.pickles.compiler import Compiler

Step = Callable[..., None]
Table = list[list[str]]


@dataclass
class Steps:
    """Patterns with what they do: the world, the pattern's groups, and the table when there is one."""

    known: list[tuple[re.Pattern[str], Step]] = field(default_factory=list)

    def __call__(self, pattern: str) -> Callable[[Step], Step]:
        def add(step: Step) -> Step:
            self.known.append((re.compile(pattern), step))
            return step

        return add

    def run(self, world: Any, step: dict[str, Any]) -> None:
        found = [(match, act) for pattern, act in self.known if (match := pattern.fullmatch(step["text"]))]
        if len(found) != 1:
            raise LookupError(f"{len(found)} steps for {step['text']!r}")
        match, act = found[0]
        table = [
            [cell["value"] for cell in row["cells"]]
            for row in step.get("argument", {}).get("dataTable", {}).get("rows", ())
        ]
        act(world, *match.groups(), *([table] if table else []))


@dataclass
class Outcome:
    """How many scenarios held, and at which step the others did not."""

    passed: int = 0
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    words: list[str] = field(default_factory=list)


def read(feature: Path) -> list[dict[str, Any]]:
    """Every scenario, outlines once for each of their examples."""
    document = Parser().parse(feature.read_text(encoding="utf-8"))
    found: Any = Compiler().compile({**document, "uri": feature.name})
    return list(found)


def run(scenarios: list[dict[str, Any]], steps: Steps, world: Callable[[], Any]) -> Outcome:
    outcome = Outcome()
    for scenario in scenarios:
        here = world()
        for step in scenario["steps"]:
            try:
                steps.run(here, step)
            except AssertionError as error:
                outcome.failed[scenario["name"], step["text"]] += 1
                outcome.words.append(f"{scenario['name']}: {step['text']}: {error}")
                break
        else:
            outcome.passed += 1
    return outcome
