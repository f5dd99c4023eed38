"""What a condition can ask of an attribute. A value of another type is no answer, never an error.

A portal holds hundreds of thousands of conditions: each is one small object, not a nest of closures.
"""

import ipaddress
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import re2

LONGEST_PATTERN = 1000
LONGEST_VERSION = 256
LONGEST_DATE = 64
LONGEST_ADDRESS = 64
RE2_MEMORY = 1 << 20
FEW = 8  # up to as many values a tuple is as quick as a set, and smaller

VERSION = "a version"
NUMERIC = ("a number", "a whole number")  # what an operator wants that reads numbers out of texts
LOOSE, TEXTS = "loose", "texts"
READINGS = (LOOSE, TEXTS)

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?\Z")
_SEMVER = re.compile(
    r"([0-9]{1,18})(?:\.([0-9]{1,18}))?(?:\.([0-9]{1,18}))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?\Z"
)
SemverKey = tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]


class BadValue(ValueError):
    """A condition's value that its operator cannot use, in words."""


# --- Readings of a value ------------------------------------------------------------------------
def is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def semver(value: Any) -> SemverKey | None:
    """A key that orders versions as semver.org does; missing parts are 0; None for what is no version."""
    if type(value) is not str or len(value) > LONGEST_VERSION:
        return None
    found = _SEMVER.match(value)
    if found is None:
        return None
    major, minor, patch, pre = found.groups()
    names = tuple(
        (0, int(name), "") if name.isdigit() and len(name) <= 18 else (1, 0, name) for name in (pre or "").split(".")
    )
    return int(major), int(minor or 0), int(patch or 0), 0 if pre else 1, names if pre else ()


def moment(value: Any) -> float | None:
    """Seconds since 1970 of an RFC 3339 text or of a Unix time; None for what is neither."""
    if is_number(value):
        return float(value) if abs(value) < 1e12 else None
    if type(value) is not str or len(value) > LONGEST_DATE:
        return None
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def address(value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if type(value) is not str or len(value) > LONGEST_ADDRESS:
        return None
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return None
    # A dual-stack socket reports an IPv4 client as ::ffff:a.b.c.d.
    return getattr(found, "ipv4_mapped", None) or found


def read(context: Mapping[str, Any], attr: str) -> Any:
    """An attribute; `company.plan` also reads into an object, unless an attribute has that very name."""
    if attr in context or "." not in attr:
        return context.get(attr)
    value: Any = context
    for part in attr.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def as_number(value: Any) -> Any:
    """The number that a text says, as JSON would; any other value as it is."""
    if type(value) is str and _NUMBER.match(value):
        number = float(value)
        return number if math.isfinite(number) else None
    return value


def as_text(value: Any) -> Any:
    """A number or a truth as its text; any other value as it is."""
    if type(value) is bool:
        return "true" if value else "false"
    if is_number(value) and math.isfinite(value):
        return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)
    return value


def as_version(value: Any) -> Any:
    """A version as its text, without the v that many write before it; any other value as it is."""
    text = as_text(value)
    return text[1:] if type(text) is str and text[:1] in ("v", "V") else text


# --- Conditions ---------------------------------------------------------------------------------
class Condition:
    """One test of one attribute. Raises BadValue, in words, for values that it cannot use."""

    __slots__ = ("attr", "ignore_case", "negate", "op", "values", "wanted")
    wants: ClassVar[str]

    def __init__(self, attr: str, op: str, values: tuple[Any, ...], negate: bool, ignore_case: bool) -> None:
        self.attr, self.op, self.values, self.negate, self.ignore_case = attr, op, values, negate, ignore_case
        self.wanted: Any = self.prepare(values)

    def prepare(self, values: tuple[Any, ...]) -> Any:
        """What is compared with; made once."""
        raise NotImplementedError

    def match(self, actual: Any) -> bool | None:
        """For one value: whether it holds; None when the value is of another type."""
        raise NotImplementedError

    def test(self, context: Mapping[str, Any]) -> bool | None:
        """True: it holds. False: it does not. None: it cannot be told, and neither can its negation."""
        actual = read(context, self.attr)
        held = self.of_list(actual) if type(actual) is list else self.match(actual)
        return held if held is None else held is not self.negate

    def of_list(self, actual: list[Any]) -> bool | None:
        """A list holds when any of its elements does."""
        held: bool | None = False if not actual else None
        for one in actual:
            answer = self.match(one)
            if answer:
                return True
            if answer is False:
                held = False
        return held


class IsOneOf(Condition):
    """`equals` and `in`: true == 1 in Python, but here true is no number."""

    __slots__ = ()
    wants = "a value of the same type"

    def prepare(self, values: tuple[Any, ...]) -> Any:
        if any(type(value) is not str and type(value) is not bool and not is_number(value) for value in values):
            raise BadValue("needs texts, numbers or true/false")
        if self.ignore_case:
            values = tuple(value.casefold() if type(value) is str else value for value in values)
        return values if len(values) <= FEW else frozenset(values)

    def match(self, actual: Any) -> bool | None:
        kind = type(actual)
        if kind is str:
            if (actual.casefold() if self.ignore_case else actual) in self.wanted:
                return True
            return False if any(type(value) is str for value in self.values) else None
        if kind is bool:
            truths = [value for value in self.values if type(value) is bool]
        elif kind is int or kind is float:
            truths = [value for value in self.values if is_number(value)]
        else:
            return None
        return actual in truths if truths else None


class IsOneOfTexts(IsOneOf):
    """The same where all values are texts and case matters, as nearly always: the quick way."""

    __slots__ = ()

    def test(self, context: Mapping[str, Any]) -> bool | None:
        actual = context.get(self.attr)
        if type(actual) is str:
            return (actual in self.wanted) is not self.negate
        return super().test(context)


class IsOneOfNumbers(IsOneOf):
    """The same where all values are numbers."""

    __slots__ = ()
    wants = "a number"

    def test(self, context: Mapping[str, Any]) -> bool | None:
        actual = context.get(self.attr)
        kind = type(actual)
        if kind is int or kind is float:
            return (actual in self.wanted) is not self.negate
        return super().test(context)


class OfText(Condition):
    __slots__ = ()
    wants = "a text"

    def prepare(self, values: tuple[Any, ...]) -> Any:
        if any(type(value) is not str or not value for value in values):
            raise BadValue("needs texts that are not empty")
        return tuple(value.casefold() for value in values) if self.ignore_case else values

    def match(self, actual: Any) -> bool | None:
        if type(actual) is not str:
            return None
        return self.found(actual.casefold() if self.ignore_case else actual)

    def found(self, text: str) -> bool:
        raise NotImplementedError


class StartsWith(OfText):
    __slots__ = ()

    def found(self, text: str) -> bool:
        return text.startswith(self.wanted)


class EndsWith(OfText):
    __slots__ = ()

    def found(self, text: str) -> bool:
        return text.endswith(self.wanted)


class Contains(OfText):
    """A text contains its parts, a list its elements."""

    __slots__ = ()

    def found(self, text: str) -> bool:
        return any(one in text for one in self.wanted)

    def of_list(self, actual: list[Any]) -> bool | None:
        texts = [one.casefold() if self.ignore_case else one for one in actual if type(one) is str]
        return any(one in self.wanted for one in texts) if texts or not actual else None


class Regex(OfText):
    """RE2 takes time in proportion to the text whatever the pattern: no context can hang an evaluation."""

    __slots__ = ()

    def prepare(self, values: tuple[Any, ...]) -> Any:
        if any(type(value) is not str or not 0 < len(value) <= LONGEST_PATTERN for value in values):
            raise BadValue(f"needs patterns of 1 to {LONGEST_PATTERN} characters")
        options = re2.Options()
        options.case_sensitive = not self.ignore_case
        options.log_errors = False
        options.max_mem = RE2_MEMORY
        try:
            return [re2.compile(value, options) for value in values]
        except (re2.error, UnicodeEncodeError) as error:
            said = error.args[0] if error.args else error
            words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
            raise BadValue(f"is no pattern that RE2 knows: {words}") from None

    def match(self, actual: Any) -> bool | None:
        if type(actual) is not str:
            return None
        try:
            return any(pattern.search(actual) is not None for pattern in self.wanted)
        except UnicodeEncodeError:
            return None


class Compared(Condition):
    """Compared with a bound after a reading of both; a value that cannot be read is no answer."""

    __slots__ = ()
    noun: ClassVar[str]
    compare: ClassVar[Any]  # (value, bound) -> bool

    @staticmethod
    def reading(value: Any) -> Any:
        raise NotImplementedError

    def prepare(self, values: tuple[Any, ...]) -> Any:
        bound = self.reading(values[0]) if len(values) == 1 else None
        if bound is None:
            raise BadValue(f"needs {self.noun}")
        return bound

    def match(self, actual: Any) -> bool | None:
        its_own = self.reading(actual)
        return None if its_own is None else self.compare(its_own, self.wanted)


class OfNumber(Compared):
    __slots__ = ()
    noun, wants = "one number", "a number"

    @staticmethod
    def reading(value: Any) -> Any:
        return value if is_number(value) else None

    def test(self, context: Mapping[str, Any]) -> bool | None:
        actual = context.get(self.attr)
        kind = type(actual)
        if kind is int or kind is float:
            return self.compare(actual, self.wanted) is not self.negate
        return super().test(context)


class OfMoment(Compared):
    __slots__ = ()
    noun, wants = "one date in RFC 3339, or a Unix time", "a date"
    reading = staticmethod(moment)


class OfVersion(Compared):
    __slots__ = ()
    noun, wants = "one version such as 2.1.0", VERSION
    reading = staticmethod(semver)


class Cidr(Condition):
    __slots__ = ()
    wants = "an IP address"

    def prepare(self, values: tuple[Any, ...]) -> Any:
        try:
            if all(type(value) is str for value in values):
                return [ipaddress.ip_network(value, strict=False) for value in values]
        except ValueError as error:
            raise BadValue(f"needs networks such as 10.0.0.0/8: {error}") from None
        raise BadValue("needs networks such as 10.0.0.0/8")

    def match(self, actual: Any) -> bool | None:
        its_address = address(actual)
        return None if its_address is None else any(its_address in network for network in self.wanted)


class Modulo(Condition):
    __slots__ = ()
    wants = "a whole number"

    def prepare(self, values: tuple[Any, ...]) -> Any:
        if len(values) == 2 and all(type(value) is int for value in values) and 0 <= values[1] < values[0]:
            return values
        raise BadValue("needs two whole numbers, a divisor and a smaller remainder")

    def match(self, actual: Any) -> bool | None:
        if type(actual) is int or (type(actual) is float and actual.is_integer()):
            return bool(actual % self.wanted[0] == self.wanted[1])
        return None


class Exists(Condition):
    __slots__ = ()
    wants = "anything"

    def prepare(self, values: tuple[Any, ...]) -> Any:
        if values:
            raise BadValue("takes no values (negate turns it round)")

    def test(self, context: Mapping[str, Any]) -> bool | None:
        return (read(context, self.attr) is not None) is not self.negate


class OrMissing(Condition):
    """Another condition that also holds when the attribute is missing. Not turned round by `negate`."""

    __slots__ = ("asked",)
    wants = "a value"

    def __init__(self, asked: Condition) -> None:
        self.asked = asked
        super().__init__(asked.attr, asked.op, asked.values, asked.negate, asked.ignore_case)

    def prepare(self, values: tuple[Any, ...]) -> Any:
        return None

    def test(self, context: Mapping[str, Any]) -> bool | None:
        return True if read(context, self.attr) is None else self.asked.test(context)


class Loosely(Condition):
    """Another condition read as elsewhere: what cannot be told is not so, and its negation holds.

    With `texts` all attributes are texts, or what the operator needs is read out of them.
    """

    __slots__ = ("asked", "texts")
    wants = "anything"

    def __init__(self, asked: Condition, negate: bool, texts: bool) -> None:
        self.asked, self.texts = asked, texts
        super().__init__(asked.attr, asked.op, asked.values, negate, asked.ignore_case)

    def prepare(self, values: tuple[Any, ...]) -> Any:
        return None

    def test(self, context: Mapping[str, Any]) -> bool | None:
        actual = read(context, self.attr)
        if self.texts:
            actual = self.read_out(actual)
        held = self.asked.of_list(actual) if type(actual) is list else self.asked.match(actual)
        return (held is True) is not self.negate

    def read_out(self, actual: Any) -> Any:
        """What the operator needs, out of a text."""
        if self.asked.wants in NUMERIC:
            return as_number(actual)
        return as_version(actual) if self.asked.wants == VERSION else as_text(actual)


def _compared(kind: type[Compared], compare: Callable[[Any, Any], bool]) -> type[Compared]:
    return type(f"{kind.__name__}_{compare.__name__}", (kind,), {"__slots__": (), "compare": staticmethod(compare)})


SEGMENT = "segment"  # made where segments are known: rollouts.engine.conditions
EXISTS = "exists"
OPERATORS: dict[str, type[Condition]] = {
    "equals": IsOneOf,
    "in": IsOneOf,
    "contains": Contains,
    "starts_with": StartsWith,
    "ends_with": EndsWith,
    "regex": Regex,
    "gt": _compared(OfNumber, operator.gt),
    "gte": _compared(OfNumber, operator.ge),
    "lt": _compared(OfNumber, operator.lt),
    "lte": _compared(OfNumber, operator.le),
    "modulo": Modulo,
    "before": _compared(OfMoment, operator.lt),
    "after": _compared(OfMoment, operator.gt),
    "semver_eq": _compared(OfVersion, operator.eq),
    "semver_gt": _compared(OfVersion, operator.gt),
    "semver_gte": _compared(OfVersion, operator.ge),
    "semver_lt": _compared(OfVersion, operator.lt),
    "semver_lte": _compared(OfVersion, operator.le),
    "cidr": Cidr,
    EXISTS: Exists,
}
NAMES: tuple[str, ...] = (*OPERATORS, SEGMENT)


def condition(
    attr: str,
    op: str,
    values: Iterable[Any],
    *,
    negate: bool = False,
    ignore_case: bool = False,
    missing: bool = False,
    reading: str = "",
) -> Condition:
    """The condition of one operator; with `missing` it also holds when the attribute is absent.

    With a `reading` it is read as elsewhere: see Loosely.

    Raises BadValue, in words, for values that it cannot use.
    """
    given = tuple(values)
    if op != EXISTS and not given:
        raise BadValue("needs at least one value")
    kind = OPERATORS[op]
    if kind is IsOneOf:
        if not ignore_case and all(type(value) is str for value in given):
            kind = IsOneOfTexts
        elif all(is_number(value) for value in given):
            kind = IsOneOfNumbers
    made = kind(attr, op, given, negate and not reading, ignore_case)
    if reading and op != EXISTS:
        made = Loosely(made, negate, reading == TEXTS)
    return OrMissing(made) if missing and op != EXISTS else made
