"""Pages of billing."""

from __future__ import annotations

from django.urls import path

from billing.pages import (
    budgets,
    cards,
    details,
    invoices,
    overview,
    payments,
    prices,
    top_up,
    usage,
    webhooks,
)

urlpatterns = [
    path("billing/", overview.billing, name="billing"),
    path("billing/now/", overview.billing_now, name="billing_now"),
    path("billing/top-up/", top_up.top_up, name="top_up"),
    path("billing/top-up/return/", top_up.top_up_return, name="top_up_return"),
    path("billing/payments/", payments.payments, name="payments"),
    path("billing/payments/<str:payment_id>/", payments.payment, name="payment"),
    path("billing/payments/<str:payment_id>/refund/", payments.refund, name="payment_refund"),
    path("billing/payments/<str:payment_id>/confirm/", payments.confirm, name="payment_confirm"),
    path("billing/cards/", cards.cards, name="cards"),
    path("billing/cards/add/", cards.add_card, name="card_add"),
    path("billing/cards/return/", cards.card_return, name="card_return"),
    path("billing/cards/auto-top-up/", cards.auto_top_up_rule, name="auto_top_up"),
    path("billing/cards/auto-top-up/off/", cards.auto_top_up_off, name="auto_top_up_off"),
    path("billing/cards/<str:card_id>/default/", cards.default_card, name="card_default"),
    path("billing/cards/<str:card_id>/remove/", cards.remove_card, name="card_remove"),
    path("billing/budgets/", budgets.budgets, name="budgets"),
    path("billing/budgets/<str:budget_id>/remove/", budgets.remove, name="budget_remove"),
    path("billing/usage/", usage.usage, name="usage"),
    path("billing/usage/<str:resource_id>/", usage.usage_of, name="usage_of"),
    path("billing/details/", details.details, name="billing_details"),
    path("billing/invoices/", invoices.invoices, name="invoices"),
    path("billing/invoices/<str:invoice_id>/", invoices.invoice, name="invoice"),
    path("billing/invoices/<str:invoice_id>/pdf/", invoices.pdf, name="invoice_pdf"),
    path("billing/invoices/<str:invoice_id>/csv/", invoices.lines_csv, name="invoice_csv"),
    path("billing/credit-notes/<str:note_id>/", invoices.credit_note, name="credit_note"),
    path("billing/credit-notes/<str:note_id>/pdf/", invoices.note_pdf, name="credit_note_pdf"),
    path("prices/", prices.prices, name="prices"),
    path("webhooks/stripe/", webhooks.stripe_webhook, name="stripe_webhook"),
]
