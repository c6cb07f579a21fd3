"""/api/v1/notebooks/<id>/access and /shares: who and what gets in.

What these answer holds a secret that is kept nowhere, so no Idempotency-Key is taken here: an
answer that could be given again would have to be kept.
"""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api.base import actor_of
from clusters.access import notebook_for, require_person
from clusters.actions.apps import end_sessions, grant_token
from clusters.actions.notebook_shares import revoke_share, share_notebook
from clusters.addresses import share_address
from clusters.api.notebook_serializers import (
    GrantSerializer,
    NewShareSerializer,
    ShareListSerializer,
    ShareSerializer,
)
from clusters.api.workloads import ERRORS, clean_id
from clusters.queries.shares import shares_of


class NotebookAccessView(APIView):
    """Programs that speak to the notebook's server."""

    @extend_schema(
        operation_id="notebooks_access",
        request=None,
        responses={201: GrantSerializer, **ERRORS},
    )
    def post(self, request: Request, notebook_id: str) -> Response:
        """An address and a new token for programs. The notebook must run."""
        actor = actor_of(request)
        grant = grant_token(actor, notebook_for(actor, clean_id(notebook_id)))
        return Response(GrantSerializer(grant).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="notebooks_access_end", request=None, responses={204: None, **ERRORS}
    )
    def delete(self, request: Request, notebook_id: str) -> Response:
        """End all of one's own tokens and browser sessions in the notebook."""
        actor = actor_of(request)
        end_sessions(actor, notebook_for(actor, clean_id(notebook_id)))
        return Response(status=status.HTTP_204_NO_CONTENT)


class NotebookSharesView(APIView):
    """Links for members of the team."""

    @extend_schema(operation_id="notebooks_shares", responses={200: ShareListSerializer, **ERRORS})
    def get(self, request: Request, notebook_id: str) -> Response:
        """The links that hold, and who has followed them. For its person and owners."""
        actor = actor_of(request)
        notebook = notebook_for(actor, clean_id(notebook_id))
        require_person(actor, notebook)
        many = ShareSerializer(shares_of(notebook), many=True)  # type: ignore[arg-type]
        return Response({"shares": many.data})

    @extend_schema(
        operation_id="notebooks_share", request=None, responses={201: NewShareSerializer, **ERRORS}
    )
    def post(self, request: Request, notebook_id: str) -> Response:
        """A new link. Who follows it may open, stop and start the notebook."""
        share, secret = share_notebook(actor_of(request), clean_id(notebook_id))
        shown = NewShareSerializer(share, context={"url": share_address(secret)})
        return Response(shown.data, status=status.HTTP_201_CREATED)


class NotebookShareView(APIView):
    """One link."""

    @extend_schema(
        operation_id="notebooks_share_revoke", request=None, responses={204: None, **ERRORS}
    )
    def delete(self, request: Request, notebook_id: str, share_id: str) -> Response:
        """Let nobody in by it any more; whom it let in is out."""
        revoke_share(actor_of(request), clean_id(notebook_id), share_id)
        return Response(status=status.HTTP_204_NO_CONTENT)
