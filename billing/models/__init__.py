"""Models of billing."""

from billing.models.account import BillingAccount
from billing.models.card import AutoTopUp, CardSetup, PaymentMethod
from billing.models.catalogue import Price, PriceBook, Sku
from billing.models.invoice import Invoice, InvoiceLine
from billing.models.ledger import (
    CreditLot,
    Hold,
    JournalEntry,
    LedgerAccount,
    LotConsumption,
    Posting,
)
<<<<<<< HEAD
from billing.models.payment import Dispute, Payment, Refund
from billing.models.reconciliation import PspTransaction, ReconciliationBreak, ReconciliationRun
=======
from billing.models.payment import Payment, WebhookEvent
from billing.models.tax import BillingProfile, TaxRate
>>>>>>> 49e55ed6f75e7786a6b03534c34cdadca173e5fb
from billing.models.usage import RatedUsage, UsageInterval
from billing.models.webhook import WebhookEvent

__all__ = [
    "AutoTopUp",
    "BillingAccount",
<<<<<<< HEAD
    "CardSetup",
=======
    "BillingProfile",
>>>>>>> 49e55ed6f75e7786a6b03534c34cdadca173e5fb
    "CreditLot",
    "Dispute",
    "Hold",
    "Invoice",
    "InvoiceLine",
    "JournalEntry",
    "LedgerAccount",
    "LotConsumption",
    "Payment",
    "PaymentMethod",
    "Posting",
    "Price",
    "PriceBook",
    "PspTransaction",
    "RatedUsage",
    "ReconciliationBreak",
    "ReconciliationRun",
    "Refund",
    "Sku",
    "TaxRate",
    "UsageInterval",
    "WebhookEvent",
]
