"""Sentry's SDK in public pages: what is kept of its events, and what strangers with its key cannot do or say."""

import gzip
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import Client
from pytest_django.fixtures import Settings

from monitoring.actions import capping, sentry_pages
from monitoring.actions import sentry as envelopes
from monitoring.api import public_keys as door
from monitoring.models import ErrorGroup, ErrorOccurrence, ErrorRelease, ErrorUnit, Rejection
from monitoring.sources import sentry_pages as pages
from monitoring.sources.sentry import Envelope
from portal import drf, jobs, keys
from portal.errors import Forbidden
from portal.limits import Limiter
from portal.models import ApiKey
from tests import make
from tests.make import BY
from tests.monitoring import buckets
from tests.monitoring.test_sentry import envelope, item

pytestmark = pytest.mark.django_db
SHOP = "https://shop.example.com"
THIEF = "https://evil.example.com"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
BUNDLE = f"{SHOP}/assets/shop-4XKQ7B2Z.js?v=7"
READ = "X-Sentry-Error, X-Sentry-Rate-Limits, Retry-After"
# As @sentry/browser 11 sends them: the outermost first, and each of them the application's own.
FRAMES: list[dict[str, Any]] = [
    {"filename": BUNDLE, "function": "HTMLButtonElement.r", "in_app": True, "lineno": 15, "colno": 14548},
    {"filename": BUNDLE, "function": "HTMLButtonElement.<anonymous>", "in_app": True, "lineno": 15, "colno": 31366},
    {"filename": BUNDLE, "function": "Dp", "in_app": True, "lineno": 15, "colno": 31261},
    {"filename": "<anonymous>", "function": "Array.map", "in_app": True},
    {"filename": BUNDLE, "function": "Pp", "in_app": True, "lineno": 15, "colno": 31189},
]


def thrown(n: int = 1, *, frames: Any = FRAMES, type_: str = "RangeError", **told: Any) -> dict[str, Any]:
    mechanism = {"type": "auto.browser.global_handlers.onerror", "handled": False}
    raised = {"type": type_, "value": "no price of plum", "stacktrace": {"frames": frames}, "mechanism": mechanism}
    return {
        "event_id": f"{n:032x}", "level": "error", "platform": "javascript", "environment": "production",
        "release": "shop@1.2.0", "timestamp": jobs.database_now().timestamp(),
        "request": {"url": f"{SHOP}/orders/1234?coupon=secret#top"}, "exception": {"values": [raised]}, **told,
    }  # fmt: skip


class Page:
    """One of the shop's, with the SDK in it."""

    def __init__(self) -> None:
        self.service = make.service("shop")
        self.key = make.browser_key(SHOP, services=[self.service])
        self.answer: Any = None

    def post(
        self,
        body: bytes,
        *,
        origin: str = SHOP,
        project: int = 0,
        kind: str = "envelope",
        key: str = "",
        packing: str = "",
    ) -> int:
        public = keys.to_public(key or self.key)
        given = {"Origin": origin, "User-Agent": CHROME, "Content-Encoding": packing}
        self.answer = Client().post(
            f"/api/{project or self.service.pk}/{kind}/?sentry_version=7&sentry_key={public}&sentry_client=x%2F11.12.0",
            body,
            content_type="text/plain;charset=UTF-8",
            headers={name: value for name, value in given.items() if value},
        )
        return int(self.answer.status_code)

    def send(self, *events: dict[str, Any], **header: Any) -> int:
        sent = {"sent_at": jobs.database_now().isoformat(), **header}
        return self.post(envelope(*(item("event", one, length=False) for one in events), **sent))

    @property
    def detail(self) -> str:
        return str(orjson.loads(self.answer.content)["detail"])

    @property
    def may_read(self) -> str | None:
        """The page of which origin."""
        found: str | None = self.answer.get("Access-Control-Allow-Origin")
        assert "Origin" in self.answer["Vary"]
        assert found is None or self.answer["Access-Control-Expose-Headers"] == READ
        assert "Access-Control-Allow-Credentials" not in self.answer
        return found


@pytest.fixture(autouse=True)
def patient(settings: Settings) -> Iterator[None]:
    """Each test begins with full buckets."""
    with buckets.full(settings):
        yield


@pytest.fixture
def page() -> Page:
    return Page()


# --- What is kept ---------------------------------------------------------------------------------
def test_an_error_of_a_page_is_kept_as_what_any_browser_says(page: Page) -> None:
    tags = {"team": "web", "page": "/mine", "device": "toaster", "flag": "new", "variant": "on", "severity": "x"}
    told = thrown(tags=tags, user={"id": 17}, level="fatal", transaction="/orders/1234", server_name="x")
    assert page.send(told) == 200
    assert (orjson.loads(page.answer.content), page.may_read) == ({"id": f"{1:032x}"}, SHOP)
    kept, group = ErrorOccurrence.objects.get(), ErrorGroup.objects.get()
    assert (group.type, group.message, group.severity) == ("RangeError", "no price of plum", "error")
    assert (group.service.key, group.environment.key, group.users) == ("shop", "staging", 0)
    assert (kept.release, kept.unit, kept.url) == ("shop@1.2.0", "", f"{SHOP}/orders/1234")
    assert kept.labels == {
        "page": "/orders/:id", "browser": "chrome", "device": "desktop", "flag": "new", "variant": "on",
        "sdk_environment": "production", "platform": "javascript", "handled": "no", "team": "web", "tag_severity": "x",
    }  # fmt: skip
    assert kept.stack.splitlines()[1] == f"    at Pp ({SHOP}/assets/shop-4XKQ7B2Z.js:15:31189)"
    assert not ErrorUnit.objects.exists()
    assert page.send(told) == 200
    assert ErrorGroup.objects.get().count == 1
    assert not Rejection.objects.exists()


def test_frames_group_across_builds_pages_and_browsers_extensions(page: Page) -> None:
    named = [
        frame | {"function": name} for frame, name in zip(FRAMES[2:], ("total", "Array.map", "priceOf"), strict=True)
    ]
    built = [frame | {"filename": frame["filename"].replace("4XKQ7B2Z", "9QW2RT5Y"), "lineno": 9} for frame in named]
    extended = [*named, {"filename": "chrome-extension://abcd/inject.js", "function": "wrap", "in_app": True}]
    assert page.send(*(thrown(n, frames=some) for n, some in enumerate((named, built, extended)))) == 200
    group = ErrorGroup.objects.get()
    assert (group.count, group.culprit) == (3, "priceOf in assets/shop-*.js")
    # A script in the page itself is in its route, whichever order it is.
    for n in (1234, 5678):
        inline = [{"filename": f"{SHOP}/orders/{n}?coupon=x#top", "function": "inline", "in_app": True, "lineno": 1}]
        assert page.send(thrown(n, frames=inline, type_="TypeError")) == 200
    assert ErrorGroup.objects.get(type="TypeError").culprit == "inline in orders/:id"
    assert ErrorGroup.objects.get(type="TypeError").count == 2


def test_addresses_lose_their_queries_wherever_they_stand(page: Page) -> None:
    told = thrown(frames=[{"filename": f"{BUNDLE}&key=s3cret", "function": "f", "lineno": 1, "colno": 2}])
    told["exception"]["values"][0]["value"] = "not at /cart?s3cret, why?"
    assert page.send(told) == 200
    kept = ErrorOccurrence.objects.get()
    assert kept.message == "not at /cart why"
    assert "s3cret" not in kept.stack + kept.message
    assert "shop-4XKQ7B2Z.js:1:2)" in kept.stack


@pytest.mark.parametrize(
    ("url", "route"),
    [
        (f"{SHOP}/orders/1234?x#top", "/orders/:id"),
        (SHOP, "/"),
        (f"{SHOP}/app#/orders/1234?x=1", "/orders/:id"),
        (f"{SHOP}/app#!/orders", "/orders"),
        ("about:blank", ""),
        ("\0", ""),
        (7, ""),
        (None, ""),
    ],
)
def test_the_page_is_its_route(url: Any, route: str) -> None:
    assert pages.page_of({"request": {"url": url}}) == route
    assert pages.page_of({"request": url}) == ""


def test_an_event_without_its_page_is_kept(page: Page) -> None:
    assert page.send(thrown(request=None, release="r" * 101, tags={"flag": "new"})) == 200
    kept = ErrorOccurrence.objects.get()
    assert (kept.release, {"page", "flag"} & set(kept.labels)) == ("", set())


@pytest.mark.parametrize(("ago", "kept"), [(30, 30), (-500, 0), (9_000, 3_600)])
def test_a_browsers_clock_says_only_how_long_ago(page: Page, ago: int, kept: int) -> None:
    wrong = jobs.database_now() + timedelta(days=400)
    told = thrown(timestamp=(wrong - timedelta(seconds=ago)).timestamp())
    before = jobs.database_now()
    assert page.send(told, sent_at=wrong.isoformat()) == 200
    time = ErrorOccurrence.objects.get().time + timedelta(seconds=kept)
    assert before - timedelta(seconds=1) <= time <= jobs.database_now() + timedelta(seconds=1)


def test_old_sdks_of_pages_store_their_events(page: Page) -> None:
    assert page.post(orjson.dumps(thrown(timestamp=0)), kind="store") == 200
    assert jobs.database_now() - ErrorOccurrence.objects.get().time < timedelta(minutes=5)


def test_what_is_no_error_is_dropped_and_counted(page: Page) -> None:
    lost = [{"reason": reason, "category": "error", "quantity": 2**30} for reason in ("network_error", "made", "up")]
    items = [item("session", {}), item("replay_event", {}), item("client_report", {"discarded_events": lost})]
    assert page.post(envelope(*items)) == 200
    said = "the SDK lost errors before they came here"
    assert dict(Rejection.objects.filter(source="sentry").values_list("reason", "count")) == {
        "items of type session are taken and not kept": 1,
        "items of type replay_event are taken and not kept": 1,
        # Anybody may say so: in the SDK's own words, and so many at most.
        f"{said}: network_error": pages.MOST_LOST,
        f"{said}: other": pages.MOST_LOST,
    }


# --- Who may --------------------------------------------------------------------------------------
@pytest.mark.parametrize("origin", [THIEF, "http://shop.example.com", "null", "", f"{SHOP}:8443"])
def test_pages_of_other_origins_are_refused_and_may_not_read_the_answer(page: Page, origin: str) -> None:
    make.browser_key(THIEF, services=[make.service("bank")])  # may use a key, and not this one
    for kind, body in (("envelope", envelope(item("event", thrown()))), ("store", orjson.dumps(thrown()))):
        assert page.post(body, origin=origin, kind=kind) == 403
        assert page.may_read is None
    assert "may not use this key" in page.detail if origin else "without Origin" in page.detail
    assert not ErrorOccurrence.objects.exists()
    assert Rejection.objects.get().count == 2


def test_a_key_reports_for_its_service_alone(page: Page) -> None:
    bank = make.service("bank")
    for project in (bank.pk, bank.pk + 999):
        assert page.post(envelope(item("event", thrown())), project=project) == 403
        assert (page.detail, page.may_read) == (f"this key belongs to no project {project}", SHOP)
    assert not ErrorOccurrence.objects.exists()


@pytest.mark.parametrize("scope", ["ingest", "admin"])
def test_a_secret_has_no_pages(page: Page, scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = make.key(scope, environments=[make.environment()])
    body = envelope(item("event", thrown()))
    assert page.post(body, key=secret) == 200  # as before: of servers, which name no origin
    assert page.may_read is None
    assert ask(page, secret).status_code == 403
    limiter = Limiter(1)
    limiter.wait(ApiKey.objects.get(scopes=[scope]).pk)
    monkeypatch.setattr(drf, "_limiter", lambda: limiter)
    assert page.post(body, key=secret) == 429
    assert page.may_read is None


def test_other_scopes_say_nothing_here(page: Page) -> None:
    for scope in ("read", "write", "feedback"):
        assert page.post(envelope(item("event", thrown())), key=make.key(scope)) == 403
        assert page.may_read is None
    # Whose key is none at all is told so, where it may be the page's own that has ended.
    keys.revoke(ApiKey.objects.get(scopes=["browser"]), by=BY)
    make.browser_key(SHOP, services=[page.service])
    assert page.send(thrown()) == 403
    assert page.may_read == SHOP
    assert page.post(envelope(item("event", thrown())), origin=THIEF) == 403
    assert page.may_read is None


def test_each_way_in_asks_for_its_own_scope(page: Page) -> None:
    secret = ApiKey.objects.get(digest=keys.digest(make.key("ingest", environments=[make.environment()])))
    public = ApiKey.objects.get(digest=keys.digest(page.key))
    with pytest.raises(Forbidden, match="does not carry the scope browser"):
        sentry_pages.take(Envelope(), page.service.pk, browser="chrome", device="phone", by=secret)
    with pytest.raises(Forbidden, match="does not carry the scope ingest"):
        envelopes.take(Envelope(), page.service.pk, by=public)


def test_while_the_store_is_gone_the_page_may_read_when_to_come_again(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(page, "").status_code == 204  # whose pages report here is known

    def gone(*_: Any, **__: Any) -> Any:
        raise OperationalError("gone")

    monkeypatch.setattr(ApiKey.objects, "filter", gone)
    monkeypatch.setattr(door, "ORIGINS_ANEW", -1.0)
    for origin, reads in ((SHOP, SHOP), (THIEF, None), ("", None)):
        assert page.post(envelope(), origin=origin) == 503
        assert (page.answer["Retry-After"], page.may_read) == ("2", reads)


def ask(page: Page, key: str, origin: str = SHOP) -> Any:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-sentry-auth"}
    query = f"?sentry_version=7&sentry_key={keys.to_public(key)}" if key else "?sentry_version=7"
    return Client().options(f"/api/{page.service.pk}/envelope/{query}", headers={"Origin": origin, **asked})


def test_a_browser_that_asks_first_is_told_what_it_may(page: Page) -> None:
    for key in (page.key, ""):
        answer = ask(page, key)
        assert (answer.status_code, answer["Access-Control-Allow-Origin"]) == (204, SHOP)
        assert answer["Access-Control-Allow-Methods"] == "POST"
        assert "x-sentry-auth" in answer["Access-Control-Allow-Headers"]
        assert answer["Access-Control-Max-Age"] == "86400"
    other = make.browser_key(THIEF, services=[make.service("bank")])
    door.forget_origins()
    for key, origin in (
        (page.key, THIEF),
        (other, SHOP),
        ("", "https://nowhere.example.com"),
        (make.key("read"), SHOP),
    ):
        answer = ask(page, key, origin)
        assert (answer.status_code, "Access-Control-Allow-Origin" in answer) == (403, False), (key, origin)


def test_the_key_in_a_header_is_the_same_key(page: Page) -> None:
    auth = f"Sentry sentry_key={keys.to_public(page.key)}, sentry_version=7"
    for origin, status in ((SHOP, 200), (THIEF, 403)):
        headers = {"X-Sentry-Auth": auth, "Origin": origin}
        path, body = f"/api/{page.service.pk}/envelope/?sentry_version=7", envelope(item("event", thrown()))
        assert Client().post(path, body, content_type="text/plain", headers=headers).status_code == status


# --- Bounds ---------------------------------------------------------------------------------------
def test_a_report_is_small_and_not_packed(page: Page) -> None:
    assert page.post(envelope(item("attachment", b"x" * door.LARGEST))) == 413
    assert (page.may_read, "at most 65536 bytes" in page.detail) == (SHOP, True)
    assert page.post(gzip.compress(b" " * 10_000_000), packing="gzip") == 415
    assert page.post(b"nonsense") == 400
    assert page.may_read == SHOP
    assert page.answer["X-Sentry-Error"].startswith("the header of the envelope is not JSON")


def test_who_reports_too_often_waits_and_the_page_may_read_how_long(page: Page, settings: Settings) -> None:
    for name, limiter in (("PORTAL_BROWSER_RATE", door._addresses), ("PORTAL_BROWSER_KEY_RATE", door._keys)):
        limiter.cache_clear()
        setattr(settings, name, 1)
        statuses = [page.send(thrown(n)) for n in range(3)]
        assert (statuses[0], statuses[-1]) == (200, 429), name
        assert (page.answer["Retry-After"], page.answer["X-Sentry-Rate-Limits"]) == ("1", "1::key")
        assert page.may_read == SHOP
        limiter.cache_clear()
        setattr(settings, name, 10_000)
        limiter.cache_clear()
    settings.PORTAL_BROWSER_RATE = 1
    door._addresses.cache_clear()
    assert [ask(page, page.key).status_code for _ in range(3)][-1] == 429
    # Servers have an address for many applications.
    secret = make.key("ingest", environments=[make.environment()])
    assert {page.post(envelope(), key=secret, origin="") for _ in range(5)} == {200}


def test_pages_have_a_small_share_of_the_threads(page: Page, settings: Settings) -> None:
    settings.PORTAL_BROWSER_IN_FLIGHT = 1
    door._places.cache_clear()
    with door.place():
        assert page.send(thrown()) == 503
        assert (page.answer["Retry-After"], page.may_read) == ("2", SHOP)
        secret = make.key("ingest", environments=[make.environment()])
        assert page.post(envelope(), key=secret, origin="") == 200
    assert page.send(thrown()) == 200


def test_of_what_strangers_make_up_so_much_is_kept(page: Page, settings: Settings) -> None:
    settings.PORTAL_BROWSER_ERRORS = 2
    assert page.send(*(thrown(n) for n in range(5))) == 200
    assert (ErrorOccurrence.objects.count(), ErrorGroup.objects.get().count) == (2, 5)
    settings.PORTAL_BROWSER_ERROR_GROUPS = 2
    for n, name in enumerate(("Alpha", "Beta", "Gamma")):
        assert page.send(thrown(100 + n, type_=name, fingerprint=[name])) == 200
    assert set(ErrorGroup.objects.values_list("type", flat=True)) == {
        "RangeError", "Alpha", "Other errors of browsers",
    }  # fmt: skip
    # Both ways in share what may come within ten seconds.
    settings.PORTAL_BROWSER_FIGURES = 1
    old = jobs.database_now() - timedelta(minutes=30)
    sent = {"sent_at": jobs.database_now().isoformat()}
    assert page.send(*(thrown(200 + n, timestamp=old.timestamp()) for n in range(2)), **sent) == 400
    assert "more than 1 of 'reported_errors' came within 10 s" in page.detail


def test_events_beyond_twenty_in_one_envelope_are_rejected(page: Page) -> None:
    frames = FRAMES[-1:]
    assert page.send(*(thrown(n, frames=frames) for n in range(23))) == 400
    assert (ErrorGroup.objects.get().count, page.detail) == (20, "at most 20 errors in one report")


def test_releases_that_strangers_make_up_are_bounded_however_long_they_take(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No series names an error's release: what the store knows of them was forgotten with each reading."""
    monkeypatch.setattr(capping, "ASKED_EVERY", -1.0)
    monkeypatch.setattr(capping, "MOST_RELEASES", 3)
    for n in range(6):
        assert page.send(thrown(n, release=f"r{n}")) == 200
    assert set(ErrorRelease.objects.values_list("release", flat=True)) == {"r0", "r1", "r2", "other"}


def test_many_tags_cost_no_event(page: Page) -> None:
    assert page.send(thrown(tags={f"t{n}": "x" for n in range(60)})) == 200
    assert len(ErrorOccurrence.objects.get().labels) == 30
    secret = make.key("ingest", environments=[make.environment()])
    told = thrown(2, tags={f"t{n}": "x" for n in range(60)})
    assert page.post(envelope(item("event", told)), key=secret, origin="") == 200
    assert ErrorOccurrence.objects.get(key=f"{2:032x}").labels["sdk_environment"] == "production"


# --- Its DSN --------------------------------------------------------------------------------------
def test_a_command_makes_a_public_key_and_prints_its_dsn(settings: Settings) -> None:
    settings.PORTAL_BASE_URL = "https://portal.example.com"
    service, place = make.service("shop"), make.environment("staging")
    out = StringIO()
    call_command("sentry_dsn", "shop", "--environment", "staging", "--origin", f"{SHOP}:443", stdout=out)
    made = ApiKey.objects.get()
    assert (made.scopes, made.origins, made.is_public) == (["browser"], [SHOP], True)
    assert (list(made.environments.all()), list(made.services.all())) == ([place], [service])
    public, at = out.getvalue().strip().removeprefix("https://").split("@")
    assert at == f"portal.example.com/{service.pk}"
    assert keys.digest(keys.from_public(public)) == made.digest
    for wrong, says in ((["--origin", SHOP], "exactly one environment"),
                        (["--environment", "staging", "--origin", "shop"], "is no origin")):  # fmt: skip
        with pytest.raises(CommandError, match=says):
            call_command("sentry_dsn", "shop", *wrong)
    assert ApiKey.objects.count() == 1
