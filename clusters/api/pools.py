"""/api/v1/pools"""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from billing.queries.prices import list_prices
from clusters.access import pools_of
from clusters.api.serializers import PoolSerializer
from clusters.queries.pools import with_counts
from portal.lib import clock
from portal.lib.rest import ErrorSerializer


class PoolsView(APIView):
    """Pools."""

    @extend_schema(
        operation_id="pools_list",
        responses={200: PoolSerializer(many=True), "4XX": ErrorSerializer},
    )
    def get(self, request: Request) -> Response:
        """Open pools with list price and what is free now."""
        pools: Any = with_counts(pools_of(actor_of(request)))
        context = {"prices": list_prices(at=clock.now())}
        return Response(PoolSerializer(pools, many=True, context=context).data)
