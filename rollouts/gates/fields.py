"""Reading a JSON object field by field: every mistake is noted by its path, and all are told at once."""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from portal.errors import Invalid

A_YEAR = 366 * 24 * 3600  # seconds
MOST = 2**31 - 1


class Fields:
    """One object of a body. Objects within it share its errors."""

    def __init__(self, data: Mapping[str, Any], path: str = "", errors: dict[str, str] | None = None) -> None:
        self.data = data
        self.path = path
        self.errors: dict[str, str] = {} if errors is None else errors

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def refuse(self, name: str, message: str) -> None:
        self.errors.setdefault(self.at(name), message)

    def refuse_all(self, mistakes: Invalid, below: str = "") -> None:
        """The mistakes that something else found in this object, or in the one `below` it."""
        for name, message in mistakes.errors.items():
            self.refuse(f"{below}.{name}" if below and name else below or name, message)

    def only(self, *known: str) -> None:
        for name in self.data:
            if name not in known:
                self.refuse(str(name)[:100], "unknown field")

    def given(self, name: str) -> bool:
        return self.data.get(name) is not None

    def text(self, name: str, *, default: str | None = None, longest: int = 128) -> str:
        value = self._value(name, default)
        if not isinstance(value, str):
            self.refuse(name, "must be a text")
        elif not value.strip():
            self.refuse(name, "may not be empty")
        elif len(value) > longest:
            self.refuse(name, f"at most {longest} characters")
        else:
            return value
        return ""

    def choice(self, name: str, options: Sequence[str]) -> str:
        value = self._value(name, None)
        if isinstance(value, str) and value in options:
            return value
        self.refuse(name, f"must be one of {', '.join(options)}")
        return ""

    def whole(self, name: str, *, default: int | None = None, at_least: int = 0, at_most: int = MOST) -> int:
        value = self._value(name, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON knows one kind of number
        if not isinstance(value, int) or isinstance(value, bool):
            self.refuse(name, "must be a whole number")
        elif not at_least <= value <= at_most:
            self.refuse(name, f"must be from {at_least} to {at_most}")
        else:
            return value
        return at_least

    def number(self, name: str) -> float:
        value = self._value(name, None)
        if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
            self.refuse(name, "must be a number")
        else:
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number
            self.refuse(name, "must be a finite number")
        return 0.0

    def labels(self, name: str) -> dict[str, str]:
        value = self.data.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(label, str) for label in value.values()):
            self.refuse(name, "must be an object of texts")
            return {}
        return dict(value)

    def objects(self, name: str, *, at_most: int) -> "Iterator[Fields]":
        """The objects of a list, each with its own path. What is no object is refused and left out."""
        value = self.data.get(name)
        if value is None:
            return
        if not isinstance(value, list | tuple):
            self.refuse(name, "must be a list")
        elif len(value) > at_most:
            self.refuse(name, f"at most {at_most}")
        else:
            for index, one in enumerate(value):
                if isinstance(one, Mapping):
                    yield Fields(one, self.at(f"{name}[{index}]"), self.errors)
                else:
                    self.refuse(f"{name}[{index}]", "must be an object")

    def done(self) -> None:
        if self.errors:
            raise Invalid(self.errors)

    def _value(self, name: str, default: Any) -> Any:
        value = self.data.get(name)
        return default if value is None else value
