"""Routes below /api/v1/billing/"""

from __future__ import annotations

from django.urls import path

from billing.api.balance import BalanceView
from billing.api.budgets import BudgetsView, BudgetView

urlpatterns = [
    path("balance", BalanceView.as_view(), name="api_billing_balance"),
    path("budgets", BudgetsView.as_view(), name="api_billing_budgets"),
    path("budgets/<str:budget_id>", BudgetView.as_view(), name="api_billing_budget"),
]
