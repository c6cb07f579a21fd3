"""Routes below /api/v1/billing/"""

from __future__ import annotations

from django.urls import path

from billing.api.balance import BalanceView

urlpatterns = [path("balance", BalanceView.as_view(), name="api_billing_balance")]
