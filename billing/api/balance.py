"""/api/v1/billing/balance"""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from billing.access import account_of
from billing.api.serializers import BalanceSerializer
from billing.queries.funds import funds_of
from portal.lib.rest import ErrorSerializer


class BalanceView(APIView):
    """Money."""

    @extend_schema(
        operation_id="billing_balance", responses={200: BalanceSerializer, "4XX": ErrorSerializer}
    )
    def get(self, request: Request) -> Response:
        """Balance, holds, burn and runway of the team, now."""
        return Response(BalanceSerializer(funds_of(account_of(actor_of(request)))).data)
