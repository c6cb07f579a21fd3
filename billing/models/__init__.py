"""Models of billing."""

from billing.models.account import BillingAccount
from billing.models.card import AutoTopUp, CardSetup, PaymentMethod
from billing.models.catalogue import Price, PriceBook, PriceNotice, Sku
from billing.models.control import Budget, BudgetCrossing, EnforcementAction, FundsNotice
from billing.models.invoice import (
    CreditNote,
    CreditNoteLine,
    DocumentFile,
    Invoice,
    InvoiceLine,
    InvoiceSeries,
    InvoiceTax,
)
from billing.models.ledger import (
    CreditLot,
    Hold,
    JournalEntry,
    LedgerAccount,
    LotConsumption,
    Posting,
)
from billing.models.payment import Dispute, Payment, Refund
from billing.models.reconciliation import PspTransaction, ReconciliationBreak, ReconciliationRun
from billing.models.tax import BillingProfile, TaxRate
from billing.models.usage import RatedUsage, UsageCredit, UsageInterval, UsageMeasure
from billing.models.webhook import WebhookEvent

__all__ = [
    "AutoTopUp",
    "BillingAccount",
    "BillingProfile",
    "Budget",
    "BudgetCrossing",
    "CardSetup",
    "CreditLot",
    "CreditNote",
    "CreditNoteLine",
    "Dispute",
    "DocumentFile",
    "EnforcementAction",
    "FundsNotice",
    "Hold",
    "Invoice",
    "InvoiceLine",
    "InvoiceSeries",
    "InvoiceTax",
    "JournalEntry",
    "LedgerAccount",
    "LotConsumption",
    "Payment",
    "PaymentMethod",
    "Posting",
    "Price",
    "PriceBook",
    "PriceNotice",
    "PspTransaction",
    "RatedUsage",
    "ReconciliationBreak",
    "ReconciliationRun",
    "Refund",
    "Sku",
    "TaxRate",
    "UsageCredit",
    "UsageInterval",
    "UsageMeasure",
    "WebhookEvent",
]
