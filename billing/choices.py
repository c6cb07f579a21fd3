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
    REFUND_RETURNED = "refund_returned", "Refund sent back by the bank"
    REFUND_FAILED = "refund_failed", "Refund failed"
    DISPUTE = "dispute", "Payment disputed"
    DISPUTE_WON = "dispute_won", "Dispute won"
    DISPUTE_LOST = "dispute_lost", "Dispute lost"
    PAYOUT = "payout", "Payout to the bank"
    PAYOUT_FAILED = "payout_failed", "Payout sent back by the bank"
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
    REQUIRES_ACTION = "requires_action", "Waiting for you"
    PROCESSING = "processing", "Being processed"
    SUCCEEDED = "succeeded", "Paid"
    FAILED = "failed", "Failed"
    CANCELED = "canceled", "Canceled"


class WebhookStatus(TextChoices):
    """What became of a stored webhook."""

    RECEIVED = "received", "Received"
    PROCESSED = "processed", "Processed"
    IGNORED = "ignored", "Not for us"
    FAILED = "failed", "Failed"


class InvoiceStatus(TextChoices):
    """A draft follows usage; what a final invoice says never changes."""

    DRAFT = "draft", "Draft"
    FINAL = "final", "Open"
    PAID = "paid", "Paid"
    UNCOLLECTIBLE = "uncollectible", "Given up"


class FundsLevel(TextChoices):
    """How worried to be about the balance."""

    OK = "ok", "Enough"
    WARN = "warn", "Under a day"
    BAD = "bad", "Under an hour"


class Collection(TextChoices):
    """When a team pays."""

    PREPAID = "prepaid", "Before use, from credit"
    POSTPAID = "postpaid", "After use, by invoice"


class PaymentPurpose(TextChoices):
    """What a payment is for."""

    TOP_UP = "top_up", "Top-up"
    AUTO_TOP_UP = "auto_top_up", "Automatic top-up"
    INVOICE = "invoice", "Invoice"


class CardStatus(TextChoices):
    """Whether a saved card can be charged."""

    ACTIVE = "active", "Saved"
    REMOVED = "removed", "Removed"


class SetupStatus(TextChoices):
    """Where saving a card stands."""

    DRAFT = "draft", "Not sent yet"
    SUBMITTED = "submitted", "Waiting for the card"
    DONE = "done", "Saved"
    CANCELED = "canceled", "Canceled"


class RefundStatus(TextChoices):
    """Where a refund stands."""

    DRAFT = "draft", "Not sent yet"
    PENDING = "pending", "On its way"
    SUCCEEDED = "succeeded", "Paid out"
    FAILED = "failed", "Failed, back in your credit"


class DisputeStatus(TextChoices):
    """Where a dispute stands; an inquiry has taken no money."""

    INQUIRY = "inquiry", "Inquiry"
    OPEN = "open", "Open"
    WON = "won", "Won"
    LOST = "lost", "Lost"


class PauseReason(TextChoices):
    """Why automatic top-up has stopped itself."""

    DECLINED = "declined", "The card was declined"
    AUTHENTICATION = "authentication", "The bank wants to hear from you"
    NO_CARD = "no_card", "There is no card to charge"
    MONTHLY_MAXIMUM = "monthly_maximum", "The month's maximum is reached"


PAUSE_ADVICE: dict[PauseReason, str] = {
    PauseReason.DECLINED: "Choose or add another card, then save the rule again.",
    PauseReason.AUTHENTICATION: "Confirm the payment that waits under Payments; "
    "it goes on by itself then.",
    PauseReason.NO_CARD: "Add a card; it goes on by itself then.",
    PauseReason.MONTHLY_MAXIMUM: "It goes on next month. Raise the maximum to go on now.",
}


class BreakKind(TextChoices):
    """What two books disagree on."""

    PAYMENT_MISSING = "payment_missing", "Stripe was paid and we know nothing of it"
    PAYMENT_UNCREDITED = "payment_uncredited", "Stripe was paid and no credit was given"
    PAYMENT_UNPAID = "payment_unpaid", "Credit was given and Stripe was not paid"
    REFUND_MISMATCH = "refund_mismatch", "A refund differs"
    DISPUTE_MISMATCH = "dispute_mismatch", "A dispute differs"
    CLEARING = "clearing", "The ledger and Stripe's balance differ"
    LEDGER_BALANCE = "ledger_balance", "A cached balance is not the sum of its postings"
    LEDGER_SUM = "ledger_sum", "All postings do not sum to zero"
    LOTS = "lots", "Credit lots are not the credit in the ledger"
    USAGE = "usage", "Rated usage is not the revenue posted"
    INVOICE = "invoice", "An invoice is not what was posted"
    UNKNOWN_OBJECT = "unknown_object", "Stripe speaks of something we do not know"
    STUCK_WEBHOOK = "stuck_webhook", "A webhook keeps failing"


class TaxIdKind(TextChoices):
    """Registers of taxpayers whose numbers we can check for form."""

    EU_VAT = "eu_vat", "EU VAT number"
    GB_VAT = "gb_vat", "UK VAT number"
    CH_VAT = "ch_vat", "Swiss VAT number"
    NO_MVA = "no_mva", "Norwegian VAT number"
    AU_ABN = "au_abn", "Australian business number"
    IN_GSTIN = "in_gstin", "Indian GST number"
    CA_BN = "ca_bn", "Canadian business number"
    US_EIN = "us_ein", "US employer number"


class TaxIdStatus(TextChoices):
    """What the register said of a number whose form is right."""

    UNVERIFIED = "unverified", "Not checked with the register"
    VERIFIED = "verified", "Known to the register"
    REJECTED = "rejected", "Unknown to the register"


class TaxPoint(TextChoices):
    """When tax is due on prepaid credit."""

    TOP_UP = "topup", "When credit is bought"
    USAGE = "usage", "When credit is used"


class InvoiceKind(TextChoices):
    """What a document is about."""

    USAGE = "usage", "Usage of a month"
    TOP_UP = "top_up", "Credit bought"
    RECEIPT = "receipt", "Receipt of a payment"


class LineKind(TextChoices):
    """What a line of an invoice stands for."""

    USAGE = "usage", "Usage of the month"
    ADJUSTMENT = "adjustment", "Correction of an earlier month"
    SERVICE = "service", "Credit for a fault of ours"
    ROUNDING = "rounding", "Rounding to the cent"
    CREDIT = "credit", "Prepaid credit"
    PAYMENT = "payment", "Payment"


class FileKind(TextChoices):
    """The forms in which a document is handed out."""

    PDF = "pdf", "PDF"
    CSV = "csv", "CSV"


class Meter(TextChoices):
    """What kind of thing is counted."""

    GPU = "gpu", "GPUs"
    STORAGE = "storage", "Storage"


# What takes credit out of lots for usage, and what puts it back.
USAGE_KINDS = (EntryKind.USAGE, EntryKind.REVERSAL, EntryKind.SERVICE_CREDIT)


class BudgetScope(TextChoices):
    """What a budget is about."""

    TEAM = "team", "The whole team"
    PROJECT = "project", "A project"
    MEMBER = "member", "A member"
    API_KEY = "api_key", "An API key"
    RUN = "run", "A run"


class LadderStep(TextChoices):
    """How far down a team without money is."""

    DAY_LEFT = "day_left", "A day left"
    HOUR_LEFT = "hour_left", "An hour left"
    EXHAUSTED = "exhausted", "Used up: no new work"
    STOPPED = "stopped", "Work was stopped"
    STORAGE_ENDING = "storage_ending", "Kept files are about to be deleted"
    STORAGE_DELETED = "storage_deleted", "Kept files were deleted"


class Enforcement(TextChoices):
    """What was done to keep to a limit."""

    BUDGET_STOP = "budget_stop", "A run was stopped by a budget"
    FUNDS_STOP = "funds_stop", "A run was stopped for want of credit"
    STORAGE_DELETE = "storage_delete", "Kept files were deleted for want of credit"
