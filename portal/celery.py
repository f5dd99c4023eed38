"""The Celery application; its beat table is what the sweeps say of themselves."""

import logging.config
import os
import warnings
from typing import Any

import django
from celery import Celery, Task
from celery.exceptions import SecurityWarning
from celery.signals import beat_init, setup_logging, task_prerun, worker_ready
from django.apps import apps
from django.conf import settings
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
if not apps.models_ready:  # imported by celery's command line, not by PortalConfig
    django.setup()

from portal.jobs import SWEEPS
from portal.supervise import readiness

# What it warns root of are messages that run code when they are read: ours are JSON, and nothing else is accepted.
warnings.filterwarnings("ignore", category=SecurityWarning)

app = Celery("flightdeck")
app.set_default()  # current in every thread, not in the importing one alone
app.conf.update(settings.CELERY)
app.autodiscover_tasks()


@setup_logging.connect
def _log_as_the_portal_does(**_: Any) -> None:
    logging.config.dictConfig(settings.LOGGING)


@app.on_after_finalize.connect
def _schedule_sweeps(sender: Celery, **_: Any) -> None:
    sender.autodiscover_tasks(force=True)
    sender.conf.beat_schedule = {
        sweep.name: {
            "task": sweep.name,
            "schedule": sweep.every,
            # A poke that waited longer than this has been overtaken by the next ones.
            "options": {"expires": max(5.0, 2 * sweep.every)},
        }
        for sweep in SWEEPS.values()
    }


@task_prerun.connect
def _look_after_the_connection(sender: Task, **_: Any) -> None:
    """As Django does before each request: one that broke, or does not answer, is opened anew."""
    if not sender.request.is_eager:
        close_old_connections()


@beat_init.connect
def _poke_each_sweep_once(**_: Any) -> None:
    """Beat itself lets a whole interval pass first: for the rare sweeps that is long."""
    for sweep in SWEEPS.values():
        app.send_task(sweep.name, ignore_result=True, retry=False, expires=120)


@worker_ready.connect
@beat_init.connect
def _tell_the_supervisor(**_: Any) -> None:
    readiness.tell()
