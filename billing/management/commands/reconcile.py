"""`manage.py reconcile`: compare our books with Stripe's now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.actions.reconcile import reconcile
from billing.models import ReconciliationBreak


class Command(BaseCommand):
    help = "Compare payments, refunds, disputes, usage and the ledger; exit 1 when books disagree."

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what was compared and what differs."""
        run = reconcile()
        if run.error:
            raise CommandError(run.error)
        for name, count in run.checked.items():
            self.stdout.write(f"{name}: {count}")
        found = ReconciliationBreak.objects.filter(resolved_at__isnull=True).order_by("pk")
        for one in found:
            self.stdout.write(f"{one}: expected {one.expected}, is {one.actual}")
        if found:
            raise CommandError(f"{len(found)} differences are open")
        self.stdout.write("All books agree.")
