"""What a team's pages list."""

from __future__ import annotations

from django.db.models import F, QuerySet

from accounts.access import team_of
from accounts.actor import Actor
from accounts.models import ApiKey, Membership

KEYS_SHOWN = 100


def members_of(actor: Actor) -> QuerySet[Membership]:
    """The people of the actor's team with their roles, in the order they came."""
    return Membership.objects.filter(team=team_of(actor)).select_related("user").order_by("pk")


def keys_of(actor: Actor) -> list[ApiKey]:
    """The actor's own keys in its team: those that work first, newest first."""
    keys = ApiKey.objects.filter(team=team_of(actor), user=actor.user)
    return list(keys.order_by(F("revoked_at").desc(nulls_first=True), "-pk")[:KEYS_SHOWN])
