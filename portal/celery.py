"""Celery: the clock and the hint of the control loop. No state lives here."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("fastgpu")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
