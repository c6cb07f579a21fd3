"""`manage.py up`: start and supervise everything of FastGPU in this terminal."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand

from portal.stack.config import BASE_DIR


class Command(BaseCommand):
    """Becomes `python -m portal.stack`: the supervisor itself needs nothing of Django."""

    help = "Start the database, the queue and every process of FastGPU, until Ctrl-C."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Never returns: the process goes on as the supervisor."""
        os.chdir(BASE_DIR)
        os.execv(sys.executable, [sys.executable, "-m", "portal.stack"])  # noqa: S606
