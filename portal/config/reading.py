"""YAML read safely: no aliases, no tags, no key twice, bounded in size and depth; and in which line a thing stands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from portal.errors import Invalid
from rollouts.importers import formats

LARGEST = 4 * 1024 * 1024  # bytes
DEEPEST = 40
# C where there is one: pure Python needs half a minute for the largest document.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# YAML 1.2's words alone: `on` and `off` are names of variants, not true and false.
_WORDS: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,30})\Z")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?\Z")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "value")}


@dataclass(slots=True)
class Source:
    """A document as read, and where its things stand."""

    content: dict[str, Any]
    name: str = "document"
    lines: dict[str, int] = field(default_factory=dict)  # by path
    # Where a path of a translated document comes from.
    origins: dict[str, str] = field(default_factory=dict)

    def place(self, path: str) -> str:
        """`file:line`, as near as can be told; the path alone for what had no lines."""
        found = _nearest(path, self.origins)
        line = _nearest(found or path, self.lines)
        return f"{self.name}:{line}" if line else self.name


def from_text(text: str, name: str = "document", *, largest: int = LARGEST) -> Source:
    """Raises Invalid, with the line."""
    if len(text.encode("utf-8", "surrogatepass")) > largest:
        raise Invalid.of("", f"{name} is larger than {largest} bytes")
    try:
        _refuse_traps(text, name)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        raise Invalid.of("", f"{where}: is not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise Invalid.of("", f"{name}: is not YAML: {' '.join(str(error).split())[:200]}") from None
    if node is None:
        raise Invalid.of("", f"{name} is empty")
    source = Source({}, name)
    content = _value(node, "", source)
    if not isinstance(content, dict):
        raise Invalid.of("", f"{name}: must be a mapping of sections such as flags and segments")
    source.content = content
    return _sound(source)


def from_object(content: Any) -> Source:
    """A document that came as JSON."""
    if not isinstance(content, dict):
        raise Invalid.of("document", "must be a text of YAML, or an object")
    return _sound(Source(content))


def _sound(source: Source) -> Source:
    fault = formats.fault_of(source.content)
    if fault:
        path = fault[0].removeprefix("document").removeprefix(".")
        raise Invalid.of(path, f"{source.place(path)}: {fault[1]}")
    return source


def _refuse_traps(text: str, name: str) -> None:
    """What would grow on reading, before anything is built."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = f"{name}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Invalid.of("", f"{line}: anchors and aliases are not read: write it out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise Invalid.of("", f"{line}: is nested deeper than {DEEPEST}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise Invalid.of("", f"{line}: one document in a file")


def _value(node: yaml.Node, path: str, source: Source) -> Any:
    line = node.start_mark.line + 1
    source.lines.setdefault(path, line)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise Invalid.of(path, f"{source.name}:{key_line}: a key must be a text")
            key = str(key_node.value)
            inner = f"{path}.{key}" if path else key
            if key in found:
                raise Invalid.of(inner, f"{source.name}:{key_line}: {key} is there twice")
            source.lines[inner] = key_line
            found[key] = _value(value_node, inner, source)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(one, f"{path}[{n}]", source) for n, one in enumerate(node.value)]
    if not isinstance(node, yaml.ScalarNode) or node.tag not in _PLAIN_TAGS:
        raise Invalid.of(path, f"{source.name}:{line}: the tag {node.tag[:100]} is not read")
    return node.value if node.style else _scalar(node.value, path, f"{source.name}:{line}")


def _scalar(text: str, path: str, where: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.match(text):
        return int(text)
    if _FLOAT.match(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise Invalid.of(path, f"{where}: a number beyond 64 bits")
        return number
    return text


def _nearest(path: str, known: dict[str, Any]) -> Any:
    """What is known of the path, or of the nearest thing that it is in."""
    for one in _upwards(path):
        if one in known:
            return known[one]
    return None


def _upwards(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
