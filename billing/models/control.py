"""Limits on what may be spent, who was told of them, and what was done."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from billing.choices import BudgetScope, Enforcement, LadderStep
from portal.lib import clock, ids


def _public_id() -> str:
    return ids.new_id("bud")


class Budget(models.Model):
    """At most `amount_micros` in a calendar month (UTC), of a run over its whole life.

    Of the team, or of what carries one label of its costs. A hard one stops what is under it and
    refuses more; another only tells.
    """

    public_id = models.CharField(max_length=40, unique=True, default=_public_id, editable=False)
    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="budgets", db_index=False
    )
    scope = models.CharField(max_length=8, choices=BudgetScope)
    project = models.CharField(max_length=60, blank=True, default="")
    member = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    api_key = models.ForeignKey(
        "accounts.ApiKey", on_delete=models.PROTECT, null=True, related_name="+"
    )
    run = models.CharField(max_length=40, blank=True, default="")
    amount_micros = models.BigIntegerField()
    is_hard = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="budget_positive"),
            models.CheckConstraint(
                condition=Q(
                    scope=BudgetScope.TEAM,
                    project="",
                    member__isnull=True,
                    api_key__isnull=True,
                    run="",
                )
                | (
                    Q(scope=BudgetScope.PROJECT, member__isnull=True, api_key__isnull=True, run="")
                    & ~Q(project="")
                )
                | Q(
                    scope=BudgetScope.MEMBER,
                    project="",
                    member__isnull=False,
                    api_key__isnull=True,
                    run="",
                )
                | Q(
                    scope=BudgetScope.API_KEY,
                    project="",
                    member__isnull=True,
                    api_key__isnull=False,
                    run="",
                )
                | (
                    Q(
                        scope=BudgetScope.RUN,
                        project="",
                        member__isnull=True,
                        api_key__isnull=True,
                    )
                    & ~Q(run="")
                ),
                name="budget_of_one_thing",
            ),
            models.UniqueConstraint(
                fields=["account", "scope", "project", "member", "api_key", "run"],
                condition=Q(removed_at__isnull=True),
                nulls_distinct=False,
                name="budget_once",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


class BudgetCrossing(models.Model):
    """A share of a budget was used up. Once for each amount: a raised budget tells again."""

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="crossings")
    period_start = models.DateTimeField()
    percent = models.PositiveSmallIntegerField()
    amount_micros = models.BigIntegerField()
    spent_micros = models.BigIntegerField()
    at = models.DateTimeField(default=clock.now)
    told_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["budget", "period_start", "percent", "amount_micros"],
                name="crossing_once",
            )
        ]
        indexes = [
            models.Index(fields=["at"], condition=Q(told_at__isnull=True), name="crossing_untold")
        ]


class FundsNotice(models.Model):
    """A step of the ladder that an account has gone down; `cleared_at` when it came up again."""

    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="funds_notices"
    )
    step = models.CharField(max_length=16, choices=LadderStep)
    balance_micros = models.BigIntegerField()
    burn_micros_per_hour = models.BigIntegerField()
    at = models.DateTimeField(default=clock.now)
    told_at = models.DateTimeField(null=True)
    cleared_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "step"],
                condition=Q(cleared_at__isnull=True),
                name="funds_notice_once",
            )
        ]
        indexes = [
            models.Index(fields=["at"], condition=Q(told_at__isnull=True), name="notice_untold")
        ]


class EnforcementAction(models.Model):
    """What FastGPU did by itself to keep to a limit, and by which figures. Appended for ever."""

    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="enforcements"
    )
    kind = models.CharField(max_length=16, choices=Enforcement)
    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, null=True, related_name="+")
    subject = models.CharField(max_length=40)
    limit_micros = models.BigIntegerField()
    spent_micros = models.BigIntegerField()
    at = models.DateTimeField(default=clock.now)

    class Meta:
        indexes = [models.Index(fields=["account", "-id"], name="enforcement_account")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.subject}"
