"""Which errors are the same one: a fingerprint of the type and of the own code's frames, or else of the message. Pure.

Two reports are one error when nothing differs between them but what differs from case to case: line numbers, addresses,
ids, numbers, quoted values, where a release was unpacked. Whoever reports may know better, and say a fingerprint.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

# Frames that tell errors apart: the innermost of the own code. What called those is mostly the same for all.
FRAMES = 5
LINES = 8  # of a stack that nobody can read
LONGEST = 500  # characters of a message as it is compared
LONGEST_LINE = 1_000
DEFAULT = re.compile(r"\{\{\s*default\s*\}\}")  # Sentry's word for the fingerprint that we would take
VERSION = "1"  # of these rules: other rules make other groups


@dataclass(frozen=True, slots=True)
class Frame:
    """One call. `own`: of the application itself; None where the sender does not say."""

    function: str = ""
    file: str = ""
    module: str = ""
    own: bool | None = None

    @property
    def is_own(self) -> bool:
        return self.own if self.own is not None else not _is_foreign(self)


class By(StrEnum):
    """What made the fingerprint."""

    SENDER = "sender"
    STACK = "stack"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Grouped:
    """Errors of one place with one fingerprint are a group; the culprit is the innermost frame of the own code."""

    fingerprint: str
    by: By
    culprit: str = ""


def group(
    type_: str, message: str, *, stack: str = "", frames: Sequence[Frame] = (), fingerprint: Sequence[str] = ()
) -> Grouped:
    """The group of one error. `frames`, the innermost first, are believed more than what is read from `stack`."""
    found = list(frames) or read(stack)
    culprit = _culprit(found)
    standard = _standard(type_, message, stack, found)
    if fingerprint:
        said = [DEFAULT.sub(standard.fingerprint, part) for part in fingerprint]
        # The default alone is no word of the sender's.
        if said != [standard.fingerprint]:
            return Grouped(_hash("sender", said), By.SENDER, culprit)
    return Grouped(standard.fingerprint, standard.by, culprit)


def _standard(type_: str, message: str, stack: str, frames: Sequence[Frame]) -> Grouped:
    if frames:
        own = [frame for frame in frames if frame.is_own] or list(frames)
        told: list[str] = []
        for frame in own:
            words = shown(frame)
            # A recursion is as deep as its input.
            if words and words not in told[-1:]:
                told.append(words)
        return Grouped(_hash("stack", [type_, *told[:FRAMES]]), By.STACK)
    lines = [generalised(line) for line in stack.splitlines() if line.strip()]
    if lines:
        return Grouped(_hash("text", [type_, *lines[:LINES]]), By.STACK)
    return Grouped(_hash("message", [type_, generalised(message)]), By.MESSAGE)


def _culprit(frames: Sequence[Frame]) -> str:
    """The innermost frame of the own code; where there is none, the innermost."""
    return next((shown(frame) for frame in frames if frame.is_own), shown(frames[0]) if frames else "")


def _hash(kind: str, parts: Iterable[str]) -> str:
    whole = "\x1f".join((VERSION, kind, *parts))
    return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:32]


# --- What differs from case to case -------------------------------------------------------------
_MESSAGE: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"\b[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}\b"), "<uuid>"),
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s\"'<>]+"), "<url>"),
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), "<email>"),
    # An apostrophe in a word quotes nothing.
    (re.compile(r"(?<!\w)'[^'\n]*'(?!\w)|\"[^\"\n]*\"|`[^`\n]*`"), "<value>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"), "<ip>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "<address>"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8,}\b"), "<id>"),
    (re.compile(r"[+-]?\d+(?:[.,:]\d+)*"), "<n>"),
)


def generalised(message: str) -> str:
    """The message without ids, numbers, addresses and quoted values."""
    text = message[: 4 * LONGEST]
    for pattern, word in _MESSAGE:
        text = pattern.sub(word, text)
    return " ".join(text.split())[:LONGEST]


_FUNCTION: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"0x[0-9a-fA-F]+"), ""),
    (re.compile(r"::h[0-9a-f]{16}\Z"), ""),  # Rust's hash of an instance
    (re.compile(r"\$\$[A-Za-z]*CGLIB\$\$[0-9a-f]+"), "$$"),
    (re.compile(r"\$\$Lambda[$/\w]*"), "$$Lambda"),
    (re.compile(r"(lambda\$\w+)\$\d+"), r"\1"),
    (re.compile(r"\$\d+"), "$"),  # Java's unnamed classes
    (re.compile(r"\.func\d+(?:\.\d+)*"), ".func"),  # Go's
    (re.compile(r" \(\d+ levels\)"), ""),  # Ruby's blocks
)
# The mark that bundlers put into a file's name: main.8f3a2c1d.js, chunk-4XKQ7B2Z.mjs.
_BUNDLE = re.compile(r"([.-])(?=[0-9A-Za-z_]*\d)[0-9A-Za-z_]{5,32}(?=(?:\.(?:chunk|min|bundle))*\.[cm]?js\b)")


def shown(frame: Frame) -> str:
    """The frame as it is compared and as people read it: function and place, wherever it was unpacked."""
    function = frame.function.strip()
    for pattern, word in _FUNCTION:
        function = pattern.sub(word, function)
    place = frame.module or _place(frame.file)
    if not function:
        return place[:200]
    return f"{function} in {place}"[:300] if place else function[:300]


def _place(file: str) -> str:
    """The last two parts of the path: what is above them is where somebody unpacked it."""
    path = re.split(r"[?#]", file.replace("\\", "/"), maxsplit=1)[0]
    path = re.sub(r"\A[a-z][a-z0-9+.-]*:///?[^/]*(?=/)", "", path)
    parts = [part for part in path.split("/") if part not in ("", ".", "..", "~")]
    return _BUNDLE.sub(r"\1*", "/".join(parts[-2:]))


# --- Whose code it is ---------------------------------------------------------------------------
_FOREIGN_FILE = re.compile(
    r"(?:^|/)(?:site-packages|dist-packages|node_modules|bower_components|gems|vendor|rustc)/"
    r"|/lib(?:64)?/(?:python\d|ruby/|node)|<frozen |<internal:|<__array_function__|^node:|^internal/|^native\b"
    r"|^<anonymous>\Z"
    r"|/go/pkg/mod/|/(?:usr/local|usr/lib|opt/[^/]+)/go[^/]*/src/|/\.cargo/registry/|webpack/(?:bootstrap|runtime)"
    r"|^(?:chrome|moz|safari|safari-web)-extension:|^\[native code\]"
)
_FOREIGN_NAME = re.compile(
    r"(?:[\w.]+/)?(?:javax?|jdk|sun|com\.sun|kotlinx?|scala|akka|org\.(?:springframework|apache|hibernate|eclipse|jboss)"
    r"|io\.(?:netty|undertow|micronaut)|reactor|System|Microsoft)\."
    r"|(?:runtime|testing|net/http|reflect|sync)\.|panic\(|panic\Z|created by runtime"
    r"|<?(?:std|core|alloc|tokio)::|rust_begin_unwind|__libc_start|_start\Z"
)


def _is_foreign(frame: Frame) -> bool:
    """Of a library or of the language itself."""
    file = frame.file.replace("\\", "/")
    if _FOREIGN_FILE.search(file):
        return True
    return any(name and _FOREIGN_NAME.match(name) for name in (frame.function, frame.module))


# --- Reading a stack ----------------------------------------------------------------------------
_PYTHON = re.compile(r'\s*File "(?P<file>[^"\n]+)", line \d+(?:, in (?P<function>.+))?\s*\Z')
_TRACEBACK = re.compile(r"\s*Traceback \(most recent call last\):\s*\Z")
# at com.shop.Cart.total(Cart.java:12) ; at java.base/java.util.ArrayList.get(Unknown Source)
_JAVA = re.compile(r"\s*at (?P<function>[\w.$/<>@-]+)\((?P<file>[^()\s]*(?: (?:Source|Method))?)\)")
_DOTNET = re.compile(r"\s*at (?P<function>[\w.`<>+\[\],|$]+\(.*?\))(?: in (?P<file>.+?):line \d+)?\s*\Z")
# at total (https://shop.example.com/main.js:10:15) ; at async load (file:///app/load.mjs:3:1) ; at main.js:1:2
_V8 = re.compile(
    r"\s*at (?:(?P<function>(?:async |new )?[^()]+?(?: \[as [^\]]+\])?) \()?(?P<file>[^()\s]+?):\d+(?::\d+)?\)?\s*\Z"
)
_V8_BARE = re.compile(r"\s*at (?P<function>.+?) \((?P<file><anonymous>|native)\)\s*\Z")
# total@https://shop.example.com/main.js:10:15
_GECKO = re.compile(r"\s*(?P<function>[^@\s]*)@(?P<file>[^\s@]+?):\d+(?::\d+)?\s*\Z")
# /srv/cart.rb:12:in `total' ; from cart.rb:12:in 'Cart#total'
_RUBY = re.compile(r"\s*(?:from )?(?P<file>[^\s:][^:\n]*):\d+:in [`'](?P<function>[^'\n]+)'")
_PHP = re.compile(r"\s*#\d+ (?P<file>[^\s(][^(\n]*)\(\d+\): (?P<function>[^(\n]+)\(")
_GO_FILE = re.compile(r"\s+(?P<file>\S+\.(?:go|s)):\d+(?: \+0x[0-9a-f]+)?\s*\Z")
_GO_FUNCTION = re.compile(r"(?:created by )?(?P<function>[\w./*()\[\]·-]+?)(?:\([^()]*\))?(?: in goroutine \d+)?\s*\Z")
_RUST_FUNCTION = re.compile(r"\s*\d+: (?:0x[0-9a-f]+ - )?(?P<function>\S.*?)\s*\Z")
_RUST_FILE = re.compile(r"\s+at (?P<file>\S+\.rs):\d+(?::\d+)?\s*\Z")
_NEXT = re.compile(r"\s*(?:Caused by|Suppressed|caused by|\[CAUSED\]|Next |goroutine \d+ |--- End of inner)")
_SINGLE = (_JAVA, _V8, _V8_BARE, _DOTNET, _RUBY, _PHP, _GECKO)


def read(stack: str) -> list[Frame]:
    """The frames of a stack in text, the innermost first: of Python, JavaScript, Java, .NET, Go, Ruby, PHP, Rust.

    Of a chain of exceptions those of the one that was raised last. Empty where nothing can be read.
    """
    lines = [line[:LONGEST_LINE] for line in stack.splitlines()]
    python = _python(lines)
    return python if python else _others(lines)


def _python(lines: Sequence[str]) -> list[Frame]:
    starts = [place for place, line in enumerate(lines) if _TRACEBACK.match(line)]
    found = [_PYTHON.match(line) for line in lines[starts[-1] if starts else 0 :]]
    # Python writes the innermost last.
    return [Frame(one["function"] or "", one["file"]) for one in reversed(found) if one]


def _others(lines: Sequence[str]) -> list[Frame]:
    found: list[Frame] = []
    before = ""
    for line in lines:
        if found and _NEXT.match(line):
            break
        frame = _pair(before, line) or _single(line)
        if frame is not None:
            found.append(frame)
        before = line
    return found


def _pair(before: str, line: str) -> Frame | None:
    """Go and Rust write the function in one line and its place in the next."""
    for place, named in ((_GO_FILE, _GO_FUNCTION), (_RUST_FILE, _RUST_FUNCTION)):
        if (at := place.match(line)) and (what := named.match(before)):
            return Frame(what["function"], at["file"])
    return None


def _single(line: str) -> Frame | None:
    for shape in _SINGLE:
        if one := shape.match(line):
            function = (one["function"] or "").removeprefix("async ").removeprefix("new ")
            return Frame(function, re.sub(r"(?<=\w):\d+\Z", "", one["file"] or ""))
    return None


# --- Releases -----------------------------------------------------------------------------------
_VERSION = re.compile(r"(?:.*@)?v?(\d{1,9}(?:\.\d{1,9}){0,5})\Z")


def is_newer(release: str, than: Iterable[str]) -> bool:
    """Whether a release came after all of those. Where it cannot be told, one that is not among them is newer."""
    others = list(than)
    if not release:
        return True
    if release in others:
        return False
    mine, theirs = _numbers(release), [_numbers(one) for one in others]
    known = [one for one in theirs if one is not None]
    return mine is None or len(known) < len(theirs) or all(mine > one for one in known)


def _numbers(release: str) -> tuple[int, ...] | None:
    """Of "shop@1.10.0" (1, 10, 0); None of what is no version in numbers, as a commit."""
    found = _VERSION.match(release)
    return tuple(int(part) for part in found[1].split(".")) if found else None
