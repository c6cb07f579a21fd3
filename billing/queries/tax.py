"""What tax is due on an amount."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billing.models import BillingAccount


@dataclass(frozen=True, slots=True)
class TaxAmount:
    """Tax on one amount at one rate; `note` is what the document has to say about it."""

    rate_ppm: int
    cents: int
    name: str
    note: str


def tax_on(account: BillingAccount, net_cents: int, *, at: datetime) -> TaxAmount:
    """The tax `account` pays on `net_cents` at `at`."""
    return TaxAmount(0, 0, "", "")
