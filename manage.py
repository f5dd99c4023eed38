#!/usr/bin/env python
"""Flightdeck's command line."""

import argparse
import os
import sys
from pathlib import Path


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    heed_data_dir(sys.argv)
    if sys.argv[1:2] == ["up"]:
        refuse_at_once(sys.argv)
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def heed_data_dir(argv: list[str]) -> None:
    """Settings are read before a command sees its arguments, and this one says where settings find their secrets."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data-dir", nargs="?")
    chosen = parser.parse_known_args(argv[1:])[0].data_dir
    if chosen:
        os.environ["PORTAL_DATA_DIR"] = os.path.abspath(os.path.expanduser(chosen))


def refuse_at_once(argv: list[str]) -> None:
    """Say at once what `up` would say after the seconds that it takes to load all apps."""
    from portal.supervise import instance, ports
    from portal.supervise.errors import Unstartable

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--host", nargs="?")
    parser.add_argument("--port", nargs="?")
    chosen = parser.parse_known_args(argv[2:])[0]
    folder = Path(os.environ.get("PORTAL_DATA_DIR") or Path(__file__).resolve().parent / "var").expanduser()
    named = (chosen.port or "").isdecimal() and 0 < int(chosen.port) <= 65535
    try:
        # Whoever runs there already holds the port, too: that is the better word.
        if instance.is_free(folder) and named:
            ports.listen(chosen.host or "127.0.0.1", int(chosen.port)).close()
    except Unstartable as refusal:
        print(f"CommandError: {refusal}", file=sys.stderr)
        sys.exit(refusal.exit_code)


if __name__ == "__main__":
    main()
