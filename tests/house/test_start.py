"""What every process of the portal waits for when it starts."""

import subprocess
import sys

from tests.running import ROOT, clean_environment

ASK = "import sys, django; django.setup(); print(*sorted({'scipy', 'opentelemetry.sdk'} & set(sys.modules)))"


def test_no_process_loads_what_takes_a_second_and_few_need() -> None:
    """SciPy takes a second of each start, the OpenTelemetry SDK half of one (redis-py loads it where it finds it)."""
    done = _python(ASK)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


# What `up` itself is: it starts those who need the apps.
SUPERVISOR = (
    "import sys; from portal.management.commands.up import Command; from django.apps import apps; "
    "from django.conf import settings; from portal.supervise import database; found = sorted(database.on_disk()); "
    "print(apps.models_ready, *sorted({'celery', 'numpy', 'rest_framework.views'} & set(sys.modules))); "
    "import django; django.setup(); from django.db.migrations.loader import MigrationLoader; "
    "print(len(found), found == sorted(MigrationLoader(None).disk_migrations))"
)


def test_the_supervisor_loads_no_apps_and_finds_the_same_migrations_as_django() -> None:
    done = _python(SUPERVISOR)
    apps, migrations = done.stdout.splitlines()
    assert apps == "False", done.stderr
    count, same = migrations.split()
    assert int(count) > 50
    assert same == "True"


def _python(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT,
        env=clean_environment() | {"DJANGO_SETTINGS_MODULE": "portal.settings"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
