"""Flags as environment variables: their names, and values that every reader of such files understands alike."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX, SUFFIX = "FEATURE_", "_ENABLED"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}\Z")
NAME_WORDS = "letters, digits and underscores, not beginning with a digit, at most 255"
PART = re.compile(r"[A-Za-z0-9_]{0,100}\Z")
PART_WORDS = "at most 100 letters, digits and underscores"
# What shells and loaders read themselves: a flag of this name would change the program's surroundings.
TAKEN = frozenset({
    "BASH_ENV", "CDPATH", "ENV", "HOME", "IFS", "LD_LIBRARY_PATH", "LD_PRELOAD", "MAIL", "OPTARG", "OPTIND", "PATH",
    "PPID", "PS1", "PS2", "PS4", "PWD", "PYTHONHOME", "PYTHONPATH", "SHELL", "TERM", "UID", "USER", "_",
})  # fmt: skip
# Understood alike by everybody without any quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+-]+\Z")
_DANGEROUS_IN_DOUBLE = re.compile(r"[$`]")


@dataclass(frozen=True, slots=True)
class Naming:
    """How a flag's variable is called. `suffix` is for switches, `value_suffix` for flags of other types.

    `names` calls some flags otherwise; None leaves the flag out.
    """

    prefix: str = PREFIX
    suffix: str = SUFFIX
    value_suffix: str = ""
    names: Mapping[str, str | None] = field(default_factory=dict)

    def name(self, flag: str, value_type: str) -> str | None:
        if flag in self.names:
            return self.names[flag]
        suffix = self.suffix if value_type == "bool" else self.value_suffix
        return f"{self.prefix}{re.sub(r'[^A-Z0-9]', '_', flag.upper())}{suffix}"


def name_fault(name: str) -> str:
    """What is wrong with the name of a variable; empty when nothing is."""
    if not NAME.match(name):
        return f"is no name of a variable: {NAME_WORDS}"
    return "is a variable of the shell itself" if name.upper() in TAKEN else ""


def text(value: Any) -> str:
    """A flag's value as the text of a variable."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return repr(value)
    # Spelt so that it stands in single quotes for every reader.
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return written.replace("'", r"\u0027").replace(r"\\", r"\u005c").replace("${", r"\u0024{")


def quoted(value: str) -> str | None:
    """The value as a shell and the usual libraries read it alike; None when they would differ."""
    if _PLAIN.match(value):
        return value
    if "\r" in value or "${" in value or value.endswith("\\"):
        return None
    if "'" not in value and r"\\" not in value:
        return f"'{value}'"
    if _DANGEROUS_IN_DOUBLE.search(value):
        return None
    escaped = value.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def quoted_for_shell(value: str) -> str:
    """The value as every POSIX shell reads it."""
    if _PLAIN.match(value):
        return value
    inner = value.replace("'", "'\\''")
    return f"'{inner}'"


def comment(words: str) -> str:
    """A line that no reader takes for anything else, whatever the words hold."""
    return "# " + re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", words).strip()
