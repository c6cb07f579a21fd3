"""The staff console's view of people, teams, keys and the audit trail."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.contrib import admin
from django.contrib.auth.models import Group

from accounts.models import ApiKey, AuditEvent, Membership, Team, User
from portal.lib.staff import LookOnlyAdmin, LookOnlyInline

# Staff change nothing here: groups are not used, addresses are shown with their person.
admin.site.unregister([Group, EmailAddress])


class TeamsOfPerson(LookOnlyInline):
    """A person's places."""

    model = Membership
    fields = ("team", "role", "created_at")
    readonly_fields = fields
    verbose_name_plural = "teams"


class PeopleOfTeam(LookOnlyInline):
    """A team's people."""

    model = Membership
    fields = ("user", "role", "created_at")
    readonly_fields = fields
    verbose_name_plural = "people"


class KeysOfTeam(LookOnlyInline):
    """A team's keys, never their secrets."""

    model = ApiKey
    fields = ("public_id", "name", "prefix", "user", "created_at", "revoked_at")
    readonly_fields = fields
    verbose_name_plural = "API keys"


class AddressesOfPerson(LookOnlyInline):
    """A person's e-mail addresses."""

    model = EmailAddress
    fields = ("email", "verified", "primary")
    readonly_fields = fields


@admin.register(User)
class UserAdmin(LookOnlyAdmin):
    """People."""

    list_display = ("email", "name", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "name", "public_id")
    ordering = ("-pk",)
    fields = (
        "public_id",
        "email",
        "name",
        "is_active",
        "is_staff",
        "date_joined",
        "last_login",
    )
    inlines = (AddressesOfPerson, TeamsOfPerson)


@admin.register(Team)
class TeamAdmin(LookOnlyAdmin):
    """Teams."""

    list_display = ("name", "public_id", "created_at")
    search_fields = ("name", "public_id", "memberships__user__email")
    ordering = ("-pk",)
    fields = ("public_id", "name", "created_at")
    readonly_fields = ("public_id", "created_at")
    inlines = (PeopleOfTeam, KeysOfTeam)


@admin.register(ApiKey)
class ApiKeyAdmin(LookOnlyAdmin):
    """API keys. The digest is not shown either: it is of no use to anybody who may look."""

    list_display = ("public_id", "name", "prefix", "user", "team", "created_at", "revoked_at")
    list_select_related = ("user", "team")
    search_fields = ("public_id", "name", "prefix", "user__email", "team__name")
    ordering = ("-pk",)
    fields = ("public_id", "name", "prefix", "user", "team", "created_at", "revoked_at")


@admin.register(AuditEvent)
class AuditEventAdmin(LookOnlyAdmin):
    """The audit trail."""

    list_display = ("at", "verb", "object_id", "who", "team", "reason")
    list_select_related = ("user", "team", "api_key")
    list_filter = ("actor_kind", "verb")
    search_fields = ("object_id", "verb", "user__email", "team__name", "reason")
    date_hierarchy = "at"
    ordering = ("-pk",)
    fields = (
        "at",
        "actor_kind",
        "user",
        "key_name",
        "team",
        "verb",
        "object_id",
        "reason",
        "detail",
    )

    @admin.display(description="Who")
    def who(self, event: AuditEvent) -> str:
        """The person, and how they came."""
        kind = event.get_actor_kind_display()
        return f"{event.user} ({kind})" if event.user else kind

    @admin.display(description="API key")
    def key_name(self, event: AuditEvent) -> str:
        """The key's name and id."""
        return f"{event.api_key.name} ({event.api_key.public_id})" if event.api_key else "-"
