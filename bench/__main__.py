"""`make bench`: every benchmark in one run, on servers of its own, with the machine's figures; JSON beside the text."""

import argparse
import json
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from portal.supervise.output import Output
from portal.supervise.postgres import Postgres
from portal.supervise.valkey import Valkey

RESULTS = Path("build") / "bench.json"
ALL = ["flags", "weights", "changes", "sockets", "store", "host"]


def main(wanted: list[str], *, seconds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="flightdeck-bench-") as folder:
        servers = _start(Path(folder))
        try:
            found = _measure(wanted or ALL, seconds=seconds)
        finally:
            for server in servers:
                server.child.stop()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for name, figures in found.items():
        print(f"{name}:\n{json.dumps(figures, indent=2)}")
    print(f"also in {RESULTS}")


def _start(folder: Path) -> list[Postgres | Valkey]:
    """Private servers, and the environment by which settings and children find them."""
    output = Output(os.open(os.devnull, os.O_WRONLY))
    servers: list[Postgres | Valkey] = [Postgres(folder, output), Valkey(folder, output, keep=False)]
    for server in servers:
        server.prepare()
        server.child.start()
    for server in servers:
        while not server.is_ready():
            time.sleep(0.05)
        os.environ["DATABASE_URL" if isinstance(server, Postgres) else "REDIS_URL"] = server.url
    os.environ |= {"PORTAL_DATA_DIR": str(folder / "data"), "DJANGO_SETTINGS_MODULE": "portal.settings"}
    return servers


def _measure(wanted: list[str], *, seconds: int) -> dict[str, Any]:
    # Settings are read when these are imported: the servers had to be there first.
    import django  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    call_command("migrate", verbosity=0)
    from bench import changes, flags, host, machine, sockets, store, weights  # noqa: PLC0415

    known = {
        "flags": flags.run,
        "weights": weights.run,
        "changes": changes.run,
        "sockets": sockets.run,
        "store": partial(store.run, seconds=seconds),
        "host": host.run,
    }
    return {"machine": machine.figures()} | {name: known[name]() for name in wanted}


if __name__ == "__main__":
    asked = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    asked.add_argument("wanted", nargs="*", choices=[*ALL, []], metavar=" | ".join(ALL))
    asked.add_argument("--seconds", type=int, default=60, help="how long `store` is written to (its promise: 600)")
    given = asked.parse_args()
    main(given.wanted, seconds=given.seconds)
