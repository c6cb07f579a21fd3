"""Models of billing."""

from billing.models.account import BillingAccount
from billing.models.catalogue import Price, PriceBook, PriceNotice, Sku
from billing.models.invoice import Invoice, InvoiceLine
from billing.models.ledger import (
    CreditLot,
    Hold,
    JournalEntry,
    LedgerAccount,
    LotConsumption,
    Posting,
)
from billing.models.payment import Payment, WebhookEvent
from billing.models.usage import RatedUsage, UsageCredit, UsageInterval

__all__ = [
    "BillingAccount",
    "CreditLot",
    "Hold",
    "Invoice",
    "InvoiceLine",
    "JournalEntry",
    "LedgerAccount",
    "LotConsumption",
    "Payment",
    "Posting",
    "Price",
    "PriceBook",
    "PriceNotice",
    "RatedUsage",
    "Sku",
    "UsageCredit",
    "UsageInterval",
    "WebhookEvent",
]
