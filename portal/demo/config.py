"""Where the portal is, the keys to its doors, and how fast the demo goes."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from portal.demo import scene


class Unknown(Exception):
    """Something that the program needs to know is not there."""


@dataclass(frozen=True, slots=True)
class Config:
    portal: str
    data_dir: Path
    keys: dict[str, str]
    pause: float  # seconds between the end of one release and the start of the next
    visits: float  # a second, in the busiest hour
    report_every: float  # seconds


def read() -> Config:
    """From the environment and the data directory: a newcomer sets nothing, a test hurries."""
    data_dir = Path(os.environ.get("PORTAL_DATA_DIR", "var")).expanduser().resolve()
    keys = _json(data_dir / scene.KEYS_FILE)
    portal = os.environ.get("PORTAL_DEMO_URL") or str(_json(data_dir / "runtime.json").get("web_url", ""))
    if not portal:
        raise Unknown("PORTAL_DEMO_URL is not set, and no portal runs on this data directory")
    return Config(
        portal=portal.rstrip("/"),
        data_dir=data_dir,
        keys={name: str(key) for name, key in keys.items()},
        pause=_seconds("PORTAL_DEMO_PAUSE", 150.0),
        visits=_seconds("PORTAL_DEMO_VISITS", scene.VISITS_A_SECOND),
        report_every=_seconds("PORTAL_DEMO_REPORT_EVERY", 2.0),
    )


def _json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Unknown(f"{path} is not there: load the demo first (manage.py demo)") from None
    except (OSError, ValueError) as error:
        raise Unknown(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise Unknown(f"{path} holds no object")
    return found


def _seconds(name: str, default: float) -> float:
    try:
        value = float(os.environ.get(name, "") or default)
    except ValueError:
        raise Unknown(f"{name}: expected a number, got {os.environ[name]!r}") from None
    if not 0 < value < 1e6:
        raise Unknown(f"{name}: expected a number above 0, got {value:g}")
    return value
