"""Enumerations of billing."""

from __future__ import annotations

from django.db.models import TextChoices


class AccountCode(TextChoices):
    """The chart of accounts. Debit is positive; liabilities and revenue stand negative."""

    PSP_CLEARING = "psp_clearing", "Money at the payment provider"
    ACCOUNTS_RECEIVABLE = "accounts_receivable", "Owed by the team"
    CUSTOMER_CREDIT = "customer_credit", "Credit the team bought"
    PROMO_CREDIT = "promo_credit", "Credit given to the team"
    REVENUE_USAGE = "revenue_usage", "Revenue from usage"
    REVENUE_BREAKAGE = "revenue_breakage", "Bought credit that expired"
    REFUNDS_PENDING = "refunds_pending", "Refunds on their way to the team"
    TAX_PAYABLE = "tax_payable", "Tax owed to the authorities"
    BANK = "bank", "Money at the bank"
    DISPUTE_RECEIVABLE = "dispute_receivable", "Payments under dispute"
    PSP_FEES = "psp_fees", "Fees of the payment provider"
    PROMO_EXPENSE = "promo_expense", "Credit given away"
    DISPUTE_LOSS = "dispute_loss", "Disputes lost"
    BAD_DEBT = "bad_debt", "Debts given up"
    ROUNDING = "rounding", "Rounding to whole cents"


class EntryKind(TextChoices):
    """What a journal entry records."""

    TOP_UP = "top_up", "Top-up"
    GRANT = "grant", "Credit granted"
    USAGE = "usage", "Usage"
    FEE = "fee", "Payment fee"
    REVERSAL = "reversal", "Reversal"
    SERVICE_CREDIT = "service_credit", "Credit for a fault of ours"
    CREDIT_NOTE = "credit_note", "Credit note"
    EXPIRY = "expiry", "Credit expired"
    TAX = "tax", "Tax on usage"
    INVOICE_PAYMENT = "invoice_payment", "Invoice paid"
    REFUND = "refund", "Refund asked for"
    REFUND_PAID = "refund_paid", "Refund paid out"
    REFUND_FAILED = "refund_failed", "Refund failed"
    DISPUTE = "dispute", "Payment disputed"
    DISPUTE_WON = "dispute_won", "Dispute won"
    DISPUTE_LOST = "dispute_lost", "Dispute lost"
    PAYOUT = "payout", "Payout to the bank"
    WRITE_OFF = "write_off", "Debt written off"
    ROUNDING = "rounding", "Rounding"


class LotKind(TextChoices):
    """Where credit came from; given credit is used before bought credit."""

    PROMOTIONAL = "promotional", "Promotional"
    GOODWILL = "goodwill", "Goodwill"
    PURCHASED = "purchased", "Purchased"


class PaymentStatus(TextChoices):
    """Where a payment stands."""

    DRAFT = "draft", "Not sent yet"
    SUBMITTED = "submitted", "Waiting for the card"
    SUCCEEDED = "succeeded", "Paid"
    CANCELED = "canceled", "Canceled"


class WebhookStatus(TextChoices):
    """What became of a stored webhook."""

    RECEIVED = "received", "Received"
    PROCESSED = "processed", "Processed"
    IGNORED = "ignored", "Not for us"
    FAILED = "failed", "Failed"


class InvoiceStatus(TextChoices):
    """A draft follows usage; a final invoice never changes."""

    DRAFT = "draft", "Draft"
    FINAL = "final", "Final"


class FundsLevel(TextChoices):
    """How worried to be about the balance."""

    OK = "ok", "Enough"
    WARN = "warn", "Under a day"
    BAD = "bad", "Under an hour"


class Meter(TextChoices):
    """What kind of thing is counted."""

    GPU = "gpu", "GPUs"
    STORAGE = "storage", "Storage"
