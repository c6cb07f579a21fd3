"""Teams and their keys."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from accounts.access import digest_of, require_owner, team_of
from accounts.actions import audit
from accounts.actor import Actor
from accounts.choices import Role
from accounts.models import ApiKey, Membership, Team, User
from portal.lib import clock, ids
from portal.lib.errors import InvalidInput, NotFound

MAX_NAME = 80

LAST_USED_STEP = timedelta(minutes=1)


@transaction.atomic
def create_team(*, owner: User, name: str) -> Team:
    """A team with `owner` as its first member."""
    team = Team.objects.create(name=name[:80])
    Membership.objects.create(team=team, user=owner, role=Role.OWNER)
    audit.record(Actor.system("sign-up"), "team.created", team=team, object_id=team.public_id)
    return team


@transaction.atomic
def ensure_team(user: User) -> Team:
    """The person's first team, made when they have none yet."""
    User.objects.select_for_update().get(pk=user.pk)
    membership = Membership.objects.select_related("team").filter(user=user).order_by("pk").first()
    if membership:
        return membership.team
    return create_team(owner=user, name=f"{user.get_short_name()}'s team")


@transaction.atomic
def rename_team(actor: Actor, *, name: str) -> Team:
    """Give the actor's team another name. Raises NotAllowed for who is no owner, InvalidInput."""
    require_owner(actor)
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput.of(name=f"A team's name has 1 to {MAX_NAME} characters on one line.")
    team = Team.objects.select_for_update().get(pk=team_of(actor).pk)
    if team.name != name:
        before, team.name = team.name, name
        team.save(update_fields=["name"])
        audit.record(actor, "team.renamed", team=team, object_id=team.public_id, before=before)
    return team


@transaction.atomic
def create_api_key(actor: Actor, *, name: str) -> tuple[ApiKey, str]:
    """A key of the actor's person and team; the secret is returned this once and never kept."""
    name = name.strip()
    if not name or len(name) > 80:
        raise InvalidInput.of(name="Give the key a name of at most 80 characters.")
    team = team_of(actor)
    if actor.user is None:
        raise InvalidInput("Only a person can make an API key.")
    secret = ids.new_secret("fgpu")
    key = ApiKey.objects.create(
        team=team, user=actor.user, name=name, prefix=secret[:12], digest=digest_of(secret)
    )
    audit.record(actor, "api_key.created", team=team, object_id=key.public_id)
    return key, secret


def note_use(key: ApiKey) -> None:
    """Remember that `key` was used, to the minute: not one write a request."""
    now = clock.now()
    if key.last_used_at is None or now - key.last_used_at > LAST_USED_STEP:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


@transaction.atomic
def revoke_api_key(actor: Actor, key_id: str) -> None:
    """End a key of the actor's own in its team. Raises NotFound."""
    team = team_of(actor)
    changed = ApiKey.objects.filter(
        public_id=key_id, team=team, user=actor.user, revoked_at__isnull=True
    ).update(revoked_at=clock.now())
    if not changed:
        raise NotFound("There is no such API key.")
    audit.record(actor, "api_key.revoked", team=team, object_id=key_id)
