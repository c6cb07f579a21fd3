"""`python -m tests.bench.one_csv`: prints the peak memory, MiB, of streaming the CSV of many lines.

Run after `one_closing`, with the environment of the stack it is for.
"""

from __future__ import annotations

import resource

import django

django.setup()

from billing.documents.focus import invoice_csv  # noqa: E402
from billing.models import Invoice  # noqa: E402


def main() -> None:
    """Stream it all, keeping nothing."""
    invoice = Invoice.objects.select_related("account__team").get(
        account__team__public_id="team_close0", number__isnull=False
    )
    lines = sum(1 for _ in invoice_csv(invoice)) - 1
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, lines)


if __name__ == "__main__":
    main()
