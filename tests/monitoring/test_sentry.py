"""The door of Sentry's SDKs: envelopes as the protocol has them, what an event becomes, and ways to get it wrong."""

import gzip
import zlib
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import cramjam
import orjson
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django.fixtures import Settings

from monitoring.api import sentry as sentry_door
from monitoring.models import ErrorGroup, ErrorOccurrence, Rejection
from monitoring.sources import packed, sentry
from portal import drf, jobs, keys
from portal.limits import Limiter
from portal.models import ApiKey, Service
from tests import make

pytestmark = pytest.mark.django_db
ID = "fc6d8c0c43fc4630ad850ee518f1b9d0"
FRAMES = [
    {"function": "handle", "filename": "django/core.py", "module": "django.core", "lineno": 3, "in_app": False},
    {"function": "total", "filename": "shop/cart.py", "module": "shop.cart", "lineno": 12, "in_app": True,
     "context_line": "    return prices[name]", "vars": {"password": "hunter2"}},
]  # fmt: skip


def event(**told: Any) -> dict[str, Any]:
    raised = {"type": "KeyError", "value": "'price'", "module": None, "mechanism": {"type": "django", "handled": False}}
    return {
        "event_id": ID,
        "level": "fatal",
        "platform": "python",
        "timestamp": jobs.database_now().isoformat(),
        "environment": "staging",
        "release": "shop@1.2.0",
        "server_name": "web-1",
        "transaction": "/cart/",
        "user": {"id": 17, "email": "bob@example.com"},
        "request": {"url": "https://shop.example.com/cart?token=abc"},
        "tags": {"region": "eu", "release": "x", "a.b": 1, "empty": ""},
        "exception": {"values": [raised | {"stacktrace": {"frames": FRAMES}}]},
        **told,
    }


def item(kind: str, payload: Any, *, length: bool = True, **header: Any) -> bytes:
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    return orjson.dumps({"type": kind, **({"length": len(body)} if length else {}), **header}) + b"\n" + body + b"\n"


def envelope(*items: bytes, **header: Any) -> bytes:
    return orjson.dumps(header) + b"\n" + b"".join(items)


class Sdk:
    """Sends as an SDK does, with a key of its own."""

    def __init__(self, *scopes: str, **where: Any) -> None:
        self.service = make.service("shop")
        make.environment("staging")
        self.key = make.key(*(scopes or ("ingest",)), **where)
        self.public = keys.to_public(self.key)
        self.answer: Any = None

    def post(
        self,
        body: bytes,
        kind: str = "envelope",
        *,
        query: str = "",
        project: int = 0,
        headers: dict[str, str] | None = None,
    ) -> int:
        path = f"/api/{project or self.service.pk}/{kind}/{query}"
        given = headers or {}
        auth = {} if query or "Authorization" in given else {"X-Sentry-Auth": self.auth()}
        self.answer = Client().post(path, body, content_type="application/x-sentry-envelope", headers={**auth, **given})
        return int(self.answer.status_code)

    def auth(self, key: str = "") -> str:
        return f"Sentry sentry_key={key or self.public}, sentry_version=7, sentry_client=sentry.python/2.75.0"

    def send(self, *items: bytes, **header: Any) -> int:
        return self.post(envelope(*items, **header))

    @property
    def body(self) -> Any:
        return orjson.loads(self.answer.content)


def the_group() -> ErrorGroup:
    return ErrorGroup.objects.get()


def test_an_event_becomes_an_occurrence_with_all_that_we_know_to_keep() -> None:
    sdk = Sdk()
    assert sdk.send(item("event", event()), event_id=ID, sent_at=jobs.database_now().isoformat()) == 200
    assert sdk.body == {"id": ID}
    kept, group = ErrorOccurrence.objects.get(), the_group()
    assert (group.type, group.message, group.severity) == ("KeyError", "'price'", "critical")
    assert group.culprit == "total in shop.cart"
    assert (group.service.key, group.environment.key, kept.key) == ("shop", "staging", ID)
    assert (kept.release, kept.unit, kept.url) == ("shop@1.2.0", "17", "https://shop.example.com/cart?token=[masked]")
    assert kept.labels == {
        "platform": "python", "transaction": "/cart/", "server_name": "web-1", "handled": "no", "region": "eu",
        "tag_release": "x", "a_b": "1",
    }  # fmt: skip
    assert kept.stack == (
        "Traceback (most recent call last):\n"
        '  File "django/core.py", line 3, in handle\n'
        '  File "shop/cart.py", line 12, in total\n'
        "    return prices[name]\n"
        "KeyError: 'price'"
    )
    # Once more, from an SDK that had no answer.
    assert sdk.send(item("event", event())) == 200
    assert the_group().count == 1


@pytest.mark.parametrize(
    ("user", "masks"),
    [
        ({"email": "bob@example.com"}, ["email"]),
        ({"email": "bob"}, ["email"]),
        ({"email": "bob@localhost"}, ["user.email"]),
        ({"username": "bob@example.com"}, ["email"]),
        ({"id": "bob@example.com", "email": "x"}, ["email"]),
        ({"username": "bob"}, ["username"]),
        ({"email": "bob@example.com"}, ["email", "targetingKey"]),
    ],
)
def test_an_address_that_says_who_the_user_is_is_kept_under_a_pseudonym(
    user: dict[str, str], masks: list[str], settings: Settings
) -> None:
    settings.PORTAL_CONTEXT_MASK = masks
    sdk = Sdk()
    other = {name: f"{value}.org" for name, value in user.items()}
    for id_, who in enumerate((user, user, other)):
        assert sdk.send(item("event", event(event_id=f"{id_:032x}", user=who))) == 200
    units = set(ErrorOccurrence.objects.values_list("unit", flat=True))
    assert len(units) == the_group().users == 2
    assert all(unit.startswith("masked-") and "bob" not in unit for unit in units)


def test_who_the_user_is_is_kept_as_told_where_nothing_of_it_is_masked(settings: Settings) -> None:
    settings.PORTAL_CONTEXT_MASK = ["password"]
    assert Sdk().send(item("event", event(user={"email": "bob@example.com"}))) == 200
    assert ErrorOccurrence.objects.get().unit == "bob@example.com"


def test_a_chain_is_written_as_its_language_would_and_grouped_by_what_was_raised_last() -> None:
    sdk = Sdk()
    cause = {"type": "SQLException", "value": "closed", "stacktrace": {"frames": [{"function": "query", "lineno": 1}]}}
    last = {"type": "OrderException", "value": "no order", "stacktrace": {"frames": [
        {"function": "main", "module": "com.shop.Main", "lineno": 1},
        {"function": "place", "module": "com.shop.Orders", "filename": "Orders.java", "lineno": 7, "colno": 2},
    ]}}  # fmt: skip
    chain = {"values": [cause, last, None]}
    assert sdk.send(item("event", event(platform="java", exception=chain))) == 200
    assert the_group().type == "OrderException"
    assert the_group().culprit == "place in com.shop.Orders"
    assert ErrorOccurrence.objects.get().stack == (
        "OrderException: no order\n    at place (Orders.java:7:2)\n    at main (com.shop.Main:1)\n"
        "Caused by: SQLException: closed\n    at query (:1)"
    )


def test_messages_are_grouped_by_what_they_have_in_common() -> None:
    sdk = Sdk()
    for n, name in enumerate(("bank", "post office")):
        entry = {"message": "no answer from %s", "params": [name]}
        told = event(event_id=f"{n:032x}", exception=None, logentry=entry, logger="shop.pay", level="warning")
        assert sdk.send(item("event", told)) == 200
    group = the_group()
    assert (group.count, group.type, group.message, group.severity) == (
        2, "shop.pay", "no answer from post office", "warning",
    )  # fmt: skip
    # A message alone, with the stack that the SDK attached; an old SDK's exception that is no list.
    threads = {"values": [{"current": True, "stacktrace": {"frames": FRAMES}}]}
    told = event(event_id="", exception=None, message="said", threads=threads)
    assert sdk.send(item("event", told)) == 200
    assert len(sdk.body["id"]) == 32
    assert ErrorGroup.objects.get(type="message").culprit == "total in shop.cart"
    assert sdk.send(item("event", event(event_id="1" * 32, exception={"type": "Old", "value": "x"}))) == 200
    assert ErrorGroup.objects.filter(type="Old").exists()


def test_a_fingerprint_of_the_applications_is_honoured() -> None:
    sdk = Sdk()
    for n, kind in enumerate(("A", "B")):
        raised = {"values": [{"type": kind, "value": "x"}]}
        told = event(event_id=f"{n:032x}", exception=raised, fingerprint=["bank", 1])
        assert sdk.send(item("event", told)) == 200
    assert the_group().count == 2


def test_everything_else_is_taken_dropped_and_counted_where_people_look() -> None:
    sdk = Sdk()
    lost = {"discarded_events": [
        {"reason": "network_error", "category": "error", "quantity": 3},
        {"reason": "sample_rate", "category": "transaction", "quantity": 900}, "nonsense", {"quantity": "x"},
    ]}  # fmt: skip
    items = [
        item("session", {"sid": "x"}), item("transaction", {}), item("transaction", {}), item("brand_new", b"\x00\xff"),
        item("attachment", b"two\nlines"), item("client_report", lost),
    ]  # fmt: skip
    assert sdk.send(*items) == 200
    assert sdk.body == {}
    assert dict(Rejection.objects.filter(source="sentry").values_list("reason", "count")) == {
        "items of type session are taken and not kept": 1,
        "items of type transaction are taken and not kept": 2,
        "items of type attachment are taken and not kept": 1,
        "items of type other are taken and not kept": 1,
        "the SDK lost errors before they came here: network_error": 3,
    }
    assert not ErrorGroup.objects.exists()


def test_items_come_with_a_length_and_without() -> None:
    sdk = Sdk()
    events = [event(event_id=f"{n:032x}") for n in range(4)]
    body = envelope(
        item("event", events[0], length=False), b"\n", item("event", events[1]), item("event", events[2], length=False)
    )
    assert sdk.post(body + item("event", events[3])[:-1]) == 200
    assert the_group().count == 4


@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", ""])
def test_bodies_come_packed(packing: str) -> None:
    sdk = Sdk()
    body = envelope(item("event", event()))
    made = {"gzip": gzip.compress, "deflate": zlib.compress, "br": lambda raw: bytes(cramjam.brotli.compress(raw))}
    packed_ = made[packing](body) if packing else body
    assert sdk.post(packed_, headers={"Content-Encoding": packing} if packing else None) == 200
    assert the_group().count == 1


def test_what_is_packed_in_another_way_is_refused_by_name() -> None:
    sdk = Sdk()
    assert sdk.post(b"x", headers={"Content-Encoding": "zstd"}) == 415
    assert "gzip, deflate, br or no Content-Encoding, not 'zstd'" in sdk.body["detail"]


@pytest.mark.parametrize("packing", ["gzip", "br"])
def test_a_bomb_is_refused_before_it_is_unpacked(packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MAX_DECODED", 1024 * 1024)
    bomb = envelope(item("attachment", b"\0" * 3 * 1024 * 1024))
    made = gzip.compress(bomb) if packing == "gzip" else bytes(cramjam.brotli.compress(bomb))
    sdk = Sdk()
    assert sdk.post(made, headers={"Content-Encoding": packing}) == 413
    assert "more than 1048576 bytes" in sdk.body["detail"]
    assert Rejection.objects.get(source="sentry").count == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "the header of the envelope is not JSON"),
        (b"[]", "the header of the envelope is no JSON object"),
        (b"{" * 100_000, "the header of the envelope is not JSON"),
        (b"{}\nnonsense\n{}", "the header of item 1 is not JSON"),
        (b'{}\n{"type":"event","length":99}\n{}', "item 1: length is 99, but 2 bytes follow"),
        (b'{}\n{"type":"event","length":-1}\n{}', "item 1: length must be a whole number"),
        (b'{}\n{"type":"event","length":2}\n{}x', "item 1: its payload does not end after 2 bytes"),
        (b'{}\n{"type":"session"}\n{}\n{"length":2}\n{}', "item 2: type must be a text"),
        (b'{}\n{"type":"event"}\n[1]', "the event of item 1 is no JSON object"),
        (b"{}\n" + b'{"type":"session"}\n{}\n' * 1001, "more than 1000 items"),
    ],
)
def test_garbage_is_refused_with_what_is_wrong(body: bytes, named: str) -> None:
    sdk = Sdk()
    assert sdk.post(body) == 400
    assert named in sdk.body["detail"]
    assert sdk.answer["X-Sentry-Error"].startswith(named[:20])


def test_what_an_event_gets_wrong_costs_a_field_and_not_the_event() -> None:
    sdk = Sdk()
    odd = event(
        level=7, platform=[], user="bob", tags=[["a", "b"], ["c"], 5], request=[], release=5, timestamp=[],
        fingerprint={"a": 1}, exception={"values": [{"type": 5, "value": {}, "stacktrace": {"frames": [
            None, {"function": 5, "lineno": "x", "in_app": "yes"}]}}]}, server_name="\0x",
    )  # fmt: skip
    assert sdk.send(item("event", odd)) == 200, sdk.body
    kept = ErrorOccurrence.objects.get()
    assert (kept.group.type, kept.severity, kept.unit, kept.release) == ("Error", "error", "", "")
    assert kept.labels == {"transaction": "/cart/", "server_name": "\N{REPLACEMENT CHARACTER}x", "a": "b"}
    assert sdk.send(item("event", b'{"message": "x", "extra": NaN, "environment": "staging"}')) == 200
    assert sdk.send(item("event", {})) == 400
    assert sdk.body["errors"] == [
        {"field": "environment", "message": "is required: the key does not belong to exactly one"}
    ]


@pytest.mark.parametrize(
    "way",
    ["hexadecimal", "as it is", "upper case", "authorization", "query", "dsn"],
)
def test_the_key_comes_in_each_of_sentrys_ways(way: str) -> None:
    sdk = Sdk()
    body, made = envelope(item("event", event())), {}
    if way == "query":
        assert sdk.post(body, query=f"?sentry_version=7&sentry_key={sdk.public}") == 200
        return
    if way == "dsn":
        dsn = f"https://{sdk.public}@portal.example.com/{sdk.service.pk}"
        assert sdk.post(envelope(item("event", event()), dsn=dsn), query="?sentry_version=7") == 200
        return
    key = {"as it is": sdk.key, "upper case": sdk.public.upper()}.get(way, sdk.public)
    made = {"Authorization" if way == "authorization" else "X-Sentry-Auth": sdk.auth(key)}
    assert sdk.post(body, headers=made) == 200


def test_a_wrong_key_is_403_as_sentry_has_it() -> None:
    sdk = Sdk()
    body = envelope(item("event", event()))
    for headers in ({"X-Sentry-Auth": sdk.auth("f" * 64)}, {"X-Sentry-Auth": "Sentry x=1"}, {"X-Sentry-Auth": "junk"}):
        assert sdk.post(body, headers=headers) == 403
        assert "X-Sentry-Error" in sdk.answer
    assert sdk.post(body, query="?sentry_key=%00") == 403
    assert Sdk("read").post(body) == 403
    assert sdk.post(body, project=sdk.service.pk + 999) == 403
    assert sdk.post(body, project=10**30) == 403
    other = Sdk("ingest", services=[make.service("bank")])
    assert other.post(body) == 403
    assert other.post(body, project=Service.objects.get(key="bank").pk) == 200
    assert sdk.post(b"", "nothing") == 404
    assert Client().get(f"/api/{sdk.service.pk}/envelope/").status_code == 403
    assert not ErrorOccurrence.objects.filter(service__key="shop").exists()


def test_a_key_of_one_environment_says_which_it_is() -> None:
    sdk = Sdk("ingest", environments=[make.environment("staging")])
    assert sdk.send(item("event", event(environment="production"))) == 200
    kept = ErrorOccurrence.objects.get()
    assert (kept.environment.key, kept.labels["sdk_environment"]) == ("staging", "production")
    # Of a key of several the SDK's word counts, and names one that there is.
    assert Sdk("ingest").send(item("event", event(environment="mars"))) == 400


def test_a_clock_that_is_wrong_is_put_right_by_when_the_envelope_was_sent() -> None:
    sdk, wrong = Sdk(), jobs.database_now() + timedelta(days=3)
    told = event(timestamp=(wrong - timedelta(seconds=5)).timestamp())
    assert sdk.send(item("event", told), sent_at=wrong.isoformat()) == 200
    kept = ErrorOccurrence.objects.get()
    assert timedelta(seconds=4) < datetime.now(UTC) - kept.time < timedelta(seconds=30)
    # Without that word it is refused, by name.
    assert sdk.send(item("event", event(event_id="2" * 32, timestamp=wrong.isoformat()))) == 400
    assert sdk.body["errors"][0]["field"] == "time"
    bare = (datetime.now(UTC) - timedelta(seconds=3)).replace(tzinfo=None).isoformat()
    assert sdk.send(item("event", event(event_id="3" * 32, timestamp=bare))) == 200


def test_old_sdks_store_their_events() -> None:
    sdk = Sdk()
    assert sdk.post(orjson.dumps(event()), "store") == 200
    assert sdk.body == {"id": ID}
    assert (
        sdk.post(gzip.compress(orjson.dumps(event(event_id="4" * 32))), "store", headers={"Content-Encoding": "gzip"})
        == 200
    )
    assert sdk.post(b"nonsense", "store") == 400
    assert the_group().count == 2


def test_who_sends_too_much_is_told_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = Limiter(1)
    monkeypatch.setattr(drf, "_limiter", lambda: limiter)
    sdk = Sdk()
    assert sdk.send(item("event", event())) == 200
    assert sdk.send(item("event", event(event_id="5" * 32))) == 429
    assert sdk.answer["Retry-After"] == "1"
    assert sdk.answer["X-Sentry-Rate-Limits"] == "1::key"


def test_a_key_and_its_digits_are_one() -> None:
    raw = make.key("ingest")
    public = keys.to_public(raw)
    assert len(public) == 64
    assert public.isalnum()
    assert keys.from_public(public) == keys.from_public(f" {public.upper()} ") == keys.from_public(raw) == raw
    assert keys.from_public("other") == "other"


def test_a_command_makes_the_key_and_prints_the_dsn(settings: Settings) -> None:
    settings.PORTAL_BASE_URL = "https://portal.example.com/below"
    service, place = make.service("shop"), make.environment("staging")
    out = StringIO()
    call_command("sentry_dsn", "shop", "--environment", "staging", stdout=out)
    dsn = out.getvalue().strip()
    made = ApiKey.objects.get()
    assert (made.scopes, list(made.environments.all()), list(made.services.all())) == (["ingest"], [place], [service])
    public, at = dsn.removeprefix("https://").split("@")
    assert at == f"portal.example.com/below/{service.pk}"
    assert keys.digest(keys.from_public(public)) == made.digest
    with pytest.raises(CommandError, match="there are: shop"):
        call_command("sentry_dsn", "bank")


NOBODY = "?sentry_version=7"  # says nothing of who sends it


def test_who_is_a_stranger_is_not_read_beyond_the_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may send an envelope: before its key is known, no more is opened than the line that may name one."""
    sdk = Sdk()
    read: list[int] = []

    def unpack(body: bytes, encoding: str) -> bytes:
        read.append(len(body))
        return body

    monkeypatch.setattr(packed, "unpack", unpack)
    lists = b'{"a":[' + b"[]," * 100_000 + b"[]]}"
    for body, encoding in ((lists, ""), (gzip.compress(lists), "gzip"), (bytes(cramjam.brotli.compress(lists)), "br")):
        headers = {"Content-Encoding": encoding} if encoding else {}
        assert sdk.post(body, query=NOBODY, headers=headers) == 403
    assert read == []
    monkeypatch.setattr(sentry_door, "_strangers", lambda limiter=Limiter(2): limiter)
    assert [sdk.post(b"{}", query=NOBODY) for _ in range(3)] == [403, 403, 429]


@pytest.mark.parametrize(
    ("message", "params", "shown"),
    [
        ("%02000000000d", [1], "%02000000000d"),
        ("%(a)s" * 4000, {"a": "x" * 1_000_000}, "x" * 8_000),
        ("%s of %(b)s, %d %%", {"b": 2}, "%s of 2, %d %"),
        ("%s and %r and %s", ["a", {"b": None}], 'a and {"b": null} and %s'),
        ("a %.1000000000f", [1.5], "a %.1000000000f"),
    ],
)
def test_a_message_is_filled_by_no_width_of_the_senders(message: str, params: Any, shown: str) -> None:
    made = sentry.report(event(exception=None, message={"message": message, "params": params}), key="k", service="shop")
    assert made["message"] == shown


def test_words_of_the_senders_in_a_refusal_break_no_header() -> None:
    sdk = Sdk("ingest", environments=[make.environment("staging"), make.environment("lab")])
    assert sdk.post(envelope(item("event", event(environment="a\nb")))) in (400, 403)
    assert "\n" not in sdk.answer["X-Sentry-Error"]
