"""/api/v1/billing/budgets"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from billing.access import account_of
from billing.actions.budgets import MAX_BUDGET_MICROS, name_of, remove_budget, set_budget
from billing.choices import BudgetScope
from billing.queries.budgets import BudgetUse, budgets_of, use_of
from portal.lib.rest import ErrorSerializer


class BudgetRequestSerializer(serializers.Serializer[Any]):
    """A budget to set. Setting that of the same thing again replaces it."""

    scope = serializers.ChoiceField(choices=BudgetScope.choices)
    target = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=254,
        help_text="A project, a member's address, the id of an API key or of a run.",
    )
    amount_micros = serializers.IntegerField(min_value=1, max_value=MAX_BUDGET_MICROS)
    is_hard = serializers.BooleanField(default=False, help_text="Stop what is under it.")


class BudgetSerializer(serializers.Serializer[BudgetUse]):
    """A budget and what of it is spent in this month, of a run in its whole life."""

    id = serializers.CharField(source="budget.public_id")
    scope = serializers.ChoiceField(source="budget.scope", choices=BudgetScope.choices)
    name = serializers.SerializerMethodField()
    amount_micros = serializers.IntegerField(source="budget.amount_micros")
    spent_micros = serializers.IntegerField()
    left_micros = serializers.IntegerField()
    percent = serializers.IntegerField()
    is_hard = serializers.BooleanField(source="budget.is_hard")

    def get_name(self, use: BudgetUse) -> str:
        """What it is about, in words."""
        return name_of(use.budget)


class BudgetsView(APIView):
    """Limits on spending."""

    @extend_schema(
        operation_id="budgets_list",
        responses={200: BudgetSerializer(many=True), "4XX": ErrorSerializer},
    )
    def get(self, request: Request) -> Response:
        """The team's budgets and their use, now."""
        uses = budgets_of(account_of(actor_of(request)))
        return Response([BudgetSerializer(use).data for use in uses])

    @extend_schema(
        operation_id="budgets_set",
        request=BudgetRequestSerializer,
        responses={200: BudgetSerializer, "4XX": ErrorSerializer},
    )
    def put(self, request: Request) -> Response:
        """Set a budget. Asked again, it changes nothing more."""
        asked = BudgetRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        typed = asked.validated_data
        budget = set_budget(
            actor_of(request),
            BudgetScope(typed["scope"]),
            typed["target"],
            amount_micros=typed["amount_micros"],
            is_hard=typed["is_hard"],
        )
        return Response(BudgetSerializer(use_of([budget])[0]).data)


class BudgetView(APIView):
    """One of them."""

    @extend_schema(operation_id="budgets_remove", responses={204: None, "4XX": ErrorSerializer})
    def delete(self, request: Request, budget_id: str) -> Response:
        """Watch it no more."""
        remove_budget(actor_of(request), budget_id)
        return Response(status=status.HTTP_204_NO_CONTENT)
