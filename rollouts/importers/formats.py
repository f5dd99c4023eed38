"""The formats that can be imported, by name; and what any document must keep to before it is looked at."""

from collections.abc import Callable, Mapping
from typing import Any

from rollouts.engine.reading import storable
from rollouts.importers import flagd, growthbook, launchdarkly, unleash
from rollouts.importers.options import UNKNOWN, Options
from rollouts.importers.wanted import Wanted

FORMATS: Mapping[str, Callable[[Any, Options], Wanted]] = {
    "unleash": unleash.translate,
    "growthbook": growthbook.translate,
    "flagd": flagd.translate,
    "launchdarkly": launchdarkly.translate,
}
LARGEST = 4 * 1024 * 1024  # bytes
DEEPEST = 100
LONGEST_NAME = 500


def translate(name: str, document: Any, options: Options) -> Wanted:
    """What the document wants. Its faults, and those of how it is to be read, are in the answer."""
    wanted = Wanted()
    if name not in FORMATS:
        wanted.faults.add("format", f"choose from {', '.join(FORMATS)}")
    if options.unknown not in UNKNOWN:
        wanted.faults.add("unknown", f"choose from {', '.join(UNKNOWN)}")
    fault = fault_of(document)
    if fault:
        wanted.faults.add(*fault)
    return wanted if wanted.faults else FORMATS[name](document, options)


def fault_of(document: Any) -> tuple[str, str] | None:
    """NUL, half characters, a name as long as a page, a nesting that nothing needs: level by level."""
    level: list[tuple[str, Any]] = [("document", document)]
    for _ in range(DEEPEST):
        deeper: list[tuple[str, Any]] = []
        for path, one in level:
            if isinstance(one, str):
                if not storable(one):
                    return path, "may not contain NUL or half characters"
            elif isinstance(one, Mapping):
                for name, inner in one.items():
                    if not isinstance(name, str) or len(name) > LONGEST_NAME or not storable(name):
                        return path, f"has a field whose name is no text of at most {LONGEST_NAME} characters"
                    deeper.append((f"{path}.{name}", inner))
            elif isinstance(one, list):
                deeper.extend((f"{path}[{n}]", inner) for n, inner in enumerate(one))
        if not deeper:
            return None
        level = deeper
    return "document", f"is nested deeper than {DEEPEST}"
