"""/api/v1/proxy/...: what the workload proxy tells the portal; not for people."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from clusters.actions.apps import note_failure, note_ready
from clusters.actions.notebooks import keep_notebook, stop_notebook
from clusters.actions.terminals import wake_terminal
from clusters.api.machines import ProxyAuthentication
from clusters.api.workloads import clean_id
from clusters.models import Workload
from portal.lib.errors import NotFound


class AnswerSerializer(serializers.Serializer[Any]):
    """What a server answered that was asked whether it is ready; "" in `failure`: as it should."""

    failure = serializers.CharField(max_length=300, allow_blank=True, default="")


class PersonSerializer(serializers.Serializer[Any]):
    """Whose session at the proxy it was."""

    user = serializers.IntegerField(min_value=1, max_value=2**62)


class _ProxyView(APIView):
    authentication_classes = [ProxyAuthentication]


class AppAnswerView(_ProxyView):
    """Readiness of what is served."""

    @extend_schema(exclude=True)
    def post(self, request: Request, app_id: int) -> Response:
        """Note that a server answers, or what it answers instead."""
        body = AnswerSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        failure = body.validated_data["failure"]
        if failure:
            note_failure(app_id, failure)
        else:
            note_ready(app_id)
        return Response({})


class _DeedView(_ProxyView):
    """What somebody asked of a run at its own address."""

    @staticmethod
    def deed(actor: Actor, run_id: str, /) -> object:
        """What was asked."""
        raise NotImplementedError

    @extend_schema(exclude=True)
    def post(self, request: Request, run_id: str) -> Response:
        """Do it as the person whose session it was, with their rights of now."""
        body = PersonSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        actor = _actor(body.validated_data["user"], clean_id(run_id))
        self.deed(actor, clean_id(run_id))
        return Response({})


class KeepView(_DeedView):
    """Keep it for an hour."""

    deed = staticmethod(keep_notebook)


class StopView(_DeedView):
    """Stop it now."""

    deed = staticmethod(stop_notebook)


class WakeView(_DeedView):
    """Start the server of a terminal again, whose page is open and has lost it."""

    deed = staticmethod(wake_terminal)


def _actor(user_id: int, run_id: str) -> Actor:
    workload = Workload.objects.select_related("team").filter(public_id=run_id).first()
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if workload is None or user is None:
        raise NotFound("There is no such run.")
    return actor_of_user(user, team_id=workload.team.public_id)
