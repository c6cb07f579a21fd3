"""The doors to teams: every object is looked up through the actor."""

from __future__ import annotations

import hashlib

from django.db.models import F

from accounts.actor import Actor
from accounts.choices import ActorKind, Role
from accounts.models import ApiKey, Membership, Team, User
from portal.lib.errors import NotAllowed, NotFound, NotSignedIn


def digest_of(secret: str) -> str:
    """What is kept of a bearer secret. Its 192 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def actor_of_user(user: User, *, team_id: str | None = None) -> Actor:
    """The actor for a signed-in person in the team with public id `team_id`, else their first.

    Raises NotFound for a team that is not theirs, or when they belong to none.
    """
    memberships = Membership.objects.select_related("team").filter(user=user).order_by("pk")
    if team_id:
        memberships = memberships.filter(team__public_id=team_id)
    membership = memberships.first()
    if membership is None:
        raise NotFound("You do not belong to this team.")
    return Actor(kind=ActorKind.USER, user=user, team=membership.team, role=Role(membership.role))


def actors_of(user: User) -> list[Actor]:
    """The person in each of their teams, the first joined first."""
    memberships = Membership.objects.select_related("team").filter(user=user).order_by("pk")
    return [
        Actor(kind=ActorKind.USER, user=user, team=one.team, role=Role(one.role))
        for one in memberships
    ]


def actor_of_secret(secret: str) -> Actor:
    """The actor for an API key. Raises NotSignedIn for an unknown or revoked one."""
    # Every request asks: one trip, and nothing in it that Django is slow to put into SQL.
    key = (
        ApiKey.objects.select_related("team", "user")
        .filter(digest=digest_of(secret), team__memberships__user=F("user"))
        .annotate(role=F("team__memberships__role"))
        .first()
    )
    if key is None or key.revoked_at is not None or not key.user.is_active:
        raise NotSignedIn("This API key is unknown or has been revoked.")
    return Actor(
        kind=ActorKind.API_KEY,
        user=key.user,
        team=key.team,
        role=Role(key.role),
        api_key=key,
    )


def team_of(actor: Actor) -> Team:
    """The actor's team. Raises NotFound where the actor has none."""
    if actor.team is None:
        raise NotFound("You do not belong to a team yet.")
    return actor.team


def require_staff(actor: Actor) -> None:
    """Raises NotAllowed unless staff, or FastGPU itself, acts."""
    is_staff = actor.kind == ActorKind.STAFF and actor.user is not None and actor.user.is_staff
    if actor.kind != ActorKind.SYSTEM and not is_staff:
        raise NotAllowed("Only staff may do this.")


def require_still(actor: Actor) -> None:
    """Raise NotAllowed where the actor has lost its place since: for work that takes long."""
    if actor.user is None or actor.team is None or actor.kind == ActorKind.STAFF:
        return
    holds = Membership.objects.filter(team=actor.team, user=actor.user, user__is_active=True)
    key = actor.api_key
    is_revoked = (
        key is not None and not ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).exists()
    )
    if is_revoked or not holds.exists():
        raise NotAllowed("You no longer belong to this team.")


def require_owner(actor: Actor) -> None:
    """Raise NotAllowed unless the actor is an owner of its team."""
    if actor.role != Role.OWNER:
        raise NotAllowed("Only an owner of the team may do this.")
