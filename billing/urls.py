"""Pages of billing."""

from __future__ import annotations

from django.urls import path

from billing.pages import invoices, overview, prices, top_up, webhooks

urlpatterns = [
    path("billing/", overview.billing, name="billing"),
    path("billing/now/", overview.billing_now, name="billing_now"),
    path("billing/top-up/", top_up.top_up, name="top_up"),
    path("billing/top-up/return/", top_up.top_up_return, name="top_up_return"),
    path("billing/invoices/<str:invoice_id>/", invoices.invoice, name="invoice"),
    path("billing/invoices/<str:invoice_id>/pdf/", invoices.invoice_pdf, name="invoice_pdf"),
    path("prices/", prices.prices, name="prices"),
    path("webhooks/stripe/", webhooks.stripe_webhook, name="stripe_webhook"),
]
