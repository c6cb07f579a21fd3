"""Celery: the clock and the hint of the control loop. No state lives here."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("fastgpu")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect
def _drive_what_waits(**_kwargs: object) -> None:
    """A worker that has just come up waits neither for beat nor for the leases of the dead."""
    from clusters.control.owners import release_leases_of_the_dead

    release_leases_of_the_dead()
    app.send_task("clusters.tasks.sweep", ignore_result=True)
