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
    """A worker that has just come up need not wait for beat's first sweep."""
    app.send_task("clusters.tasks.sweep", ignore_result=True)
