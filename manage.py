#!/usr/bin/env python
"""Flightdeck's command line."""

import argparse
import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    heed_data_dir(sys.argv)
    from django.core.exceptions import ImproperlyConfigured

    try:
        if sys.argv[1:2] == ["up"]:
            # Its children load the apps; itself it needs none, and would take longer over them than over all else.
            from portal.management.commands.up import Command

            Command().run_from_argv(sys.argv)
        else:
            from django.core.management import execute_from_command_line

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


if __name__ == "__main__":
    main()
