"""Settings read from the environment, with errors a person can act on."""

import json
import os
import secrets
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured

_env = environ.Env()

TRUE_WORDS = {"1", "true", "yes", "on"}
FALSE_WORDS = {"0", "false", "no", "off", ""}


def text(name: str, default: str = "") -> str:
    """The variable NAME, or the content of the file that NAME_FILE names."""
    file = os.environ.get(f"{name}_FILE")
    if file:
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE: cannot read {file}: {error.strerror}") from error
    return os.environ.get(name, default)


def boolean(name: str, default: bool = False) -> bool:
    value = os.environ.get(name)
    if value is None:
        return default
    if value.strip().lower() in TRUE_WORDS:
        return True
    if value.strip().lower() in FALSE_WORDS:
        return False
    raise ImproperlyConfigured(f"{name}: expected yes or no, got {value!r}")


def integer(name: str, default: int, *, at_least: int = 0) -> int:
    raw = os.environ.get(name)
    if raw is None or raw == "":
        return default
    try:
        value = int(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name}: expected a whole number, got {raw!r}") from None
    if value < at_least:
        raise ImproperlyConfigured(f"{name}: expected at least {at_least}, got {value}")
    return value


def percentage(name: str, default: float) -> float:
    raw = os.environ.get(name)
    if raw is None or raw.strip() == "":
        return default
    try:
        value = float(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name}: expected a percentage, got {raw!r}") from None
    if not 0 <= value <= 100:
        raise ImproperlyConfigured(f"{name}: expected 0 to 100, got {raw}")
    return value


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """A comma-separated list."""
    raw = os.environ.get(name)
    if raw is None:
        return list(default)
    return [word.strip() for word in raw.split(",") if word.strip()]


def funnels(name: str) -> dict[str, list[str]]:
    """Paths of events by name: `checkout:cart_viewed>order_placed`, several with commas."""
    found = {}
    for one in words(name):
        key, colon, steps = one.partition(":")
        path = [step.strip() for step in steps.split(">")]
        if not colon or not key.strip() or len(path) < 2 or not all(path):
            raise ImproperlyConfigured(f"{name}: '{one}' is not like checkout:cart_viewed>order_placed")
        found[key.strip()] = path
    return found


def database(name: str, default: str) -> dict[str, Any]:
    """A Django database entry from a postgres:// address."""
    url = text(name, default)
    try:
        parsed = _env.db_url_config(url)
    except Exception as error:
        raise ImproperlyConfigured(f"{name}: not a database address: {error}") from error
    if "postgresql" not in str(parsed.get("ENGINE", "")):
        raise ImproperlyConfigured(f"{name}: PostgreSQL is the only database, got {url.split(':', 1)[0]}://…")
    return dict(parsed)


def redis_url(name: str, default: str) -> str:
    url = text(name, default)
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ImproperlyConfigured(f"{name}: expected redis://, rediss:// or unix://, got {url.split(':', 1)[0]!r}")
    return url


def email_server(name: str) -> dict[str, Any]:
    """Django's e-mail settings from smtp://, smtp+tls:// (STARTTLS) or smtp+ssl://; empty when there is none."""
    url = text(name)
    if not url:
        return {}
    try:
        found = dict(_env.email_url_config(url))
    except Exception as error:
        raise ImproperlyConfigured(f"{name}: not the address of a mail server: {error}") from error
    if not found["EMAIL_BACKEND"].endswith(".smtp.EmailBackend") or not found["EMAIL_HOST"]:
        raise ImproperlyConfigured(f"{name}: expected smtp://user:password@host:port, smtp+tls:// or smtp+ssl://")
    return found


def zone(name: str, default: str) -> str:
    """An IANA time zone."""
    try:
        return ZoneInfo(text(name) or default).key
    except (KeyError, ValueError, OSError) as error:
        raise ImproperlyConfigured(
            f"{name}: expected an IANA zone such as Europe/Warsaw, got {text(name)!r}"
        ) from error


def runtime(data_dir: Path) -> dict[str, str]:
    """The addresses that a running `manage.py up` wrote into its data directory, or nothing."""
    try:
        found = json.loads((data_dir / "runtime.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(f"{data_dir / 'runtime.json'} cannot be read: {error}") from error
    return {key: value for key, value in found.items() if isinstance(value, str)}


def kept_secret(name: str, data_dir: Path) -> str:
    """The variable NAME, or a random secret made once and kept in the data directory (mode 0600)."""
    given = text(name)
    if given:
        return given
    path = data_dir / f"{name.lower()}.txt"
    try:
        return path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise ImproperlyConfigured(f"{name}: cannot read {path}: {error.strerror}") from error
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        # Written aside and linked: two first starts at once agree on one secret.
        fresh = data_dir / f".{name.lower()}.{os.getpid()}"
        fresh.write_text(secrets.token_urlsafe(48) + "\n", encoding="utf-8")
        fresh.chmod(0o600)
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{name} is not set, and {data_dir} cannot keep one ({error.strerror}): set it, or make the folder writable"
        ) from error
