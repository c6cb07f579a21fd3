"""`manage.py verify_invoice FG-000001`: work an invoice out again from the raw intervals."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.choices import InvoiceStatus
from billing.documents.words import exact
from billing.models import Invoice
from billing.queries.verify import mismatches


class Command(BaseCommand):
    """Prints `equal`, or every difference and fails."""

    help = "Recompute an invoice from raw usage; prints equal, or each difference."

    def add_arguments(self, parser: CommandParser) -> None:
        """One number or id."""
        parser.add_argument("number", help="as the invoice prints it, or its inv_... id")

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises CommandError for an invoice nobody knows, a draft, or a difference."""
        number = options["number"]
        found = (
            Invoice.objects.filter(reference=number).first()
            or Invoice.objects.filter(public_id=number).first()
        )
        if found is None:
            raise CommandError(f"There is no invoice {number}. Give a number such as FG-000001.")
        if found.status == InvoiceStatus.DRAFT:
            raise CommandError(f"{number} is a draft: it is read from usage each time.")
        count = 0
        for count, off in enumerate(mismatches(found), start=1):  # noqa: B007
            self.stdout.write(
                f"{off.subject}: {exact(off.expected)} by the raw usage, "
                f"{exact(off.actual)} on the invoice, difference {exact(off.actual - off.expected)}"
            )
        if count:
            raise CommandError(f"{found.reference}: {count} differences")
        self.stdout.write(f"{found.reference}: equal, {exact(found.total_micros)}")
