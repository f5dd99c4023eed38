"""Settings from the environment: wrong ones say which, and what is wrong with them."""

import json
import stat
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from portal import env


def test_a_yes_or_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "On")
    assert env.boolean("X")
    monkeypatch.setenv("X", "off")
    assert not env.boolean("X")
    monkeypatch.setenv("X", "maybe")
    with pytest.raises(ImproperlyConfigured, match="X: expected yes or no, got 'maybe'"):
        env.boolean("X")


def test_a_whole_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "12")
    assert env.integer("X", 1) == 12
    monkeypatch.setenv("X", "twelve")
    with pytest.raises(ImproperlyConfigured, match="X: expected a whole number"):
        env.integer("X", 1)
    monkeypatch.setenv("X", "0")
    with pytest.raises(ImproperlyConfigured, match="X: expected at least 1"):
        env.integer("X", 1, at_least=1)


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("hidden\n")
    monkeypatch.setenv("X_FILE", str(tmp_path / "s"))
    assert env.text("X") == "hidden"
    monkeypatch.setenv("X_FILE", str(tmp_path / "none"))
    with pytest.raises(ImproperlyConfigured, match="X_FILE"):
        env.text("X")


@pytest.mark.parametrize("url", ["mysql://a@b/c", "sqlite:///x.db", "nonsense"])
def test_only_postgresql_is_a_database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL"):
        env.database("DATABASE_URL", "")


def test_a_broker_address_must_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "http://x")
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL"):
        env.redis_url("REDIS_URL", "")


def test_a_secret_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    first = env.kept_secret("PORTAL_SECRET_KEY", tmp_path / "data")
    assert env.kept_secret("PORTAL_SECRET_KEY", tmp_path / "data") == first
    assert len(first) > 40
    kept = tmp_path / "data" / "portal_secret_key.txt"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list((tmp_path / "data").iterdir()) == [kept]


def test_the_addresses_of_a_running_portal_are_read_and_a_broken_file_is_named(tmp_path: Path) -> None:
    assert env.runtime(tmp_path) == {}
    (tmp_path / "runtime.json").write_text(json.dumps({"database_url": "postgres://x", "pid": 7}))
    assert env.runtime(tmp_path) == {"database_url": "postgres://x"}
    (tmp_path / "runtime.json").write_text("{")
    with pytest.raises(ImproperlyConfigured, match="runtime.json"):
        env.runtime(tmp_path)
