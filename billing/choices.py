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
    PSP_FEES = "psp_fees", "Fees of the payment provider"
    PROMO_EXPENSE = "promo_expense", "Credit given away"


class EntryKind(TextChoices):
    """What a journal entry records."""

    TOP_UP = "top_up", "Top-up"
    GRANT = "grant", "Credit granted"
    USAGE = "usage", "Usage"
    FEE = "fee", "Payment fee"
    REVERSAL = "reversal", "Reversal"


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
