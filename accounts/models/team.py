"""Teams: who pays, and who belongs."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from accounts.choices import Role
from portal.lib import clock, ids


def _public_id() -> str:
    return ids.new_id("team")


class Team(models.Model):
    """The payer. Its `pk` is the stable small number engines map to a Unix user."""

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    name = models.CharField(max_length=80)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL, through="accounts.Membership", related_name="teams"
    )

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A person's place in a team."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "user"], name="membership_unique"),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="membership_role"
            ),
        ]
