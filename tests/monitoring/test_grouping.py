"""Which errors are one: stacks as the languages print them, and what differs from case to case."""

import time

import pytest

from monitoring import grouping
from monitoring.grouping import By, Frame

PYTHON = """Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/django/core/handlers/exception.py", line 55, in inner
    response = get_response(request)
  File "/srv/releases/{release}/shop/cart.py", line {line}, in total
    return price[name]
  File "/srv/releases/{release}/shop/price.py", line 9, in of
    raise KeyError({value!r})
KeyError: {value!r}
"""
JAVASCRIPT = """TypeError: x is not a function
    at total (https://cdn{host}.example.com/static/js/main.{hash}.js:10:{column})
    at async Promise.all (index 0)
    at https://cdn{host}.example.com/static/js/chunk-4XKQ7B2Z.mjs:1:2
    at Layer.handle (/srv/node_modules/express/lib/router/layer.js:95:5)
    at new Cart (webpack:///./src/cart.ts:4:5)
    at Array.map (<anonymous>)
"""
GECKO = """total@https://shop.example.com/main.js:10:15
@https://shop.example.com/main.js:1:1
"""
JAVA = """java.lang.IllegalStateException: order 42
\tat com.shop.Cart.lambda$total$3(Cart.java:12)
\tat java.base/java.util.ArrayList.forEach(ArrayList.java:1511)
\tat com.shop.Cart$1.run(Cart.java:99)
\tat org.springframework.web.Servlet.service(Unknown Source)
Caused by: java.io.IOException: broken pipe
\tat com.shop.Other.write(Other.java:1)
"""
GO = """panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
runtime.gopanic(0x1, 0x2)
\t/usr/local/go/src/runtime/panic.go:884 +0x213
main.(*Server).handle(0xc0000b2000, {0x1, 0x2})
\t/srv/app/main.go:42 +0x1b
main.main.func1()
\t/srv/app/main.go:12 +0x1b

goroutine 7 [select]:
main.wait()
\t/srv/app/wait.go:3 +0x1b
"""
RUBY = """cart.rb:12:in `block (2 levels) in total': boom (RuntimeError)
\tfrom /usr/lib/ruby/gems/3.1/gems/rack/handler.rb:1:in 'call'
\tfrom app/cart.rb:3:in 'Cart#total'
"""
PHP = """#0 /srv/app/Cart.php(12): Cart->total()
#1 /srv/vendor/http/Kernel.php(1): Kernel->handle(Object(Request))
#2 {main}
"""
DOTNET = """System.InvalidOperationException: empty
   at Shop.Cart.Total(Int32 n) in /src/Cart.cs:line 12
   at System.Linq.Enumerable.Sum(IEnumerable`1 source)
"""
RUST = """   0: rust_begin_unwind
             at /rustc/abc/library/std/src/panicking.rs:593:5
   1: shop::cart::total::h0123456789abcdef
             at ./src/cart.rs:12:5
"""


def own(stack: str) -> list[str]:
    return [grouping.shown(frame) for frame in grouping.read(stack) if frame.is_own]


@pytest.mark.parametrize(
    ("stack", "frames"),
    [
        (PYTHON.format(release="1", line=3, value=7), ["of in shop/price.py", "total in shop/cart.py"]),
        (JAVASCRIPT, ["total in js/main.*.js", "js/chunk-*.mjs", "Cart in src/cart.ts"]),
        (GECKO, ["total in main.js", "main.js"]),
        (JAVA, ["com.shop.Cart.lambda$total in Cart.java", "com.shop.Cart$.run in Cart.java"]),
        (GO, ["main.(*Server).handle in app/main.go", "main.main.func in app/main.go"]),
        (RUBY, ["block in total in cart.rb", "Cart#total in app/cart.rb"]),
        (PHP, ["Cart->total in app/Cart.php"]),
        (DOTNET, ["Shop.Cart.Total(Int32 n) in src/Cart.cs"]),
        (RUST, ["shop::cart::total in src/cart.rs"]),
    ],
    ids=["python", "v8", "gecko", "java", "go", "ruby", "php", "dotnet", "rust"],
)
def test_the_own_codes_frames_are_read_the_innermost_first(stack: str, frames: list[str]) -> None:
    if stack == JAVASCRIPT:
        stack = stack.replace("{hash}", "8f3a2c1d").replace("{host}", "1").replace("{column}", "15")
    assert own(stack) == frames


def test_releases_lines_and_values_make_no_other_group() -> None:
    def group(**told: object) -> grouping.Grouped:
        return grouping.group("KeyError", str(told["value"]), stack=PYTHON.format(**told))

    first = group(release="2026.44", line=12, value="a")
    assert group(release="2026.45", line=99, value="b") == first
    assert (first.by, first.culprit) == (By.STACK, "of in shop/price.py")
    assert grouping.group("ValueError", "", stack=PYTHON).fingerprint != first.fingerprint


def test_bundles_of_two_builds_make_one_group() -> None:
    def group(host: str, mark: str, column: str) -> str:
        stack = JAVASCRIPT.replace("{hash}", mark).replace("{host}", host).replace("{column}", column)
        return grouping.group("TypeError", "x", stack=stack).fingerprint

    assert group("1", "8f3a2c1d", "15") == group("2", "0b1c2d3e", "99")


def test_another_place_is_another_error() -> None:
    moved = GECKO.replace("total@", "discount@")
    assert grouping.group("E", "", stack=moved) != grouping.group("E", "", stack=GECKO)


def test_a_deep_recursion_is_the_same_as_a_deeper_one() -> None:
    frame = '  File "/srv/shop/tree.py", line 3, in walk\n'
    few, many = ("Traceback (most recent call last):\n" + frame * n for n in (3, 300))
    assert grouping.group("RecursionError", "", stack=few) == grouping.group("RecursionError", "", stack=many)


def test_of_a_chain_the_one_that_was_raised_last_counts() -> None:
    chain = PYTHON + "\nDuring handling of the above exception, another exception occurred:\n\n"
    chain += PYTHON.replace("in of", "in handler")
    assert own(chain)[0] == "handler in shop/price.py"


def test_frames_that_the_sender_knows_are_believed_more_than_a_text() -> None:
    frames = [Frame("call", "lib.py", "library", own=False), Frame("total", "cart.py", "shop.cart", own=True)]
    made = grouping.group("KeyError", "", stack=PYTHON, frames=frames)
    assert made.culprit == "total in shop.cart"
    assert made != grouping.group("KeyError", "", stack=PYTHON)
    # Where nothing is the application's own, what there is tells errors apart.
    assert grouping.group("E", "", frames=frames[:1]) != grouping.group("E", "", frames=[Frame("other", own=False)])


@pytest.mark.parametrize(
    ("message", "general"),
    [
        ("user 'bob' not found: 17", "user <value> not found: <n>"),
        ("can't open order 5f0c1a2b3c4d5e6f at 10.0.0.1:80", "can't open order <id> at <ip>"),
        ("550e8400-e29b-41d4-a716-446655440000 of http://x/y?z=1", "<uuid> of <url>"),
        ("0xdeadbeef a@b.co user_123 failed 12.5 s", "<address> <email> user_<n> failed <n> s"),
        ("deadbeef cafe facade", "deadbeef cafe facade"),
    ],
)
def test_messages_are_compared_without_what_differs(message: str, general: str) -> None:
    assert grouping.generalised(message) == general


def test_without_a_stack_the_message_decides() -> None:
    first = grouping.group("Timeout", "waited 31 s for 'bank'")
    assert first == grouping.group("Timeout", "waited 77 s for 'post'")
    assert (first.by, first.culprit) == (By.MESSAGE, "")
    assert first != grouping.group("Timeout", "no answer")
    # A text that is no stack we know is compared line by line.
    assert grouping.group("E", "", stack="at line 3: boom") == grouping.group("E", "", stack="at line 4: boom")
    assert grouping.group("E", "", stack="boom").by == By.STACK


def test_a_fingerprint_of_the_senders_is_honoured() -> None:
    first = grouping.group("A", "one", stack=PYTHON, fingerprint=["payments", "gateway"])
    assert first.by == By.SENDER
    assert first.fingerprint == grouping.group("B", "two", fingerprint=["payments", "gateway"]).fingerprint
    assert first.fingerprint != grouping.group("B", "two", fingerprint=["payments"]).fingerprint
    standard = grouping.group("A", "one", stack=PYTHON)
    assert grouping.group("A", "one", stack=PYTHON, fingerprint=["{{ default }}"]) == standard
    finer = [grouping.group("A", "one", stack=PYTHON, fingerprint=["{{default}}", place]) for place in ("pl", "de")]
    assert len({one.fingerprint for one in (*finer, standard)}) == 3


@pytest.mark.parametrize(
    ("release", "others", "newer"),
    [
        ("1.10", ["1.9"], True),
        ("1.8", ["1.9"], False),
        ("1.9", ["1.9"], False),
        ("shop@2.0.1", ["shop@2.0.0", "shop@1.9"], True),
        ("a1b2c3d", ["1.9"], True),
        ("9.9", ["a1b2c3d"], True),
        ("", ["1.9"], True),
    ],
)
def test_which_release_is_newer(release: str, others: list[str], newer: bool) -> None:
    assert grouping.is_newer(release, others) is newer


@pytest.mark.parametrize(
    "text",
    ["a" * 60_000, "at " + "a." * 30_000, "at x (" * 9_000, "\n".join(["  at " + "a b" * 300] * 60), "x@" * 30_000,
     "    at " + "(" * 60_000, "#1 " + "a" * 60_000, "'" * 30_000, "a1" * 30_000, "1." * 30_000],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    began = time.thread_time()  # its own: others may have the processor meanwhile
    grouping.group("E", text, stack=text)
    assert time.thread_time() - began < 0.5
