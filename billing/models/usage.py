"""What was used, and what it came to."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import BigIntegerRangeField, DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Cast

from billing.models.catalogue import IdRange
from billing.models.labels import Labelled
from portal.lib import clock


class KindRange(Func):
    """The resource kind hashed into an int8range of one, for the same reason as `IdRange`."""

    function = "int8range"
    output_field = BigIntegerRangeField()

    def __init__(self) -> None:
        number = Cast(Func(F("resource_kind"), function="hashtext"), models.BigIntegerField())
        super().__init__(number, number, Value("[]"))


class Span(Func):
    """`[started_at, ended_at)` as a tstzrange."""

    function = "tstzrange"
    output_field = DateTimeRangeField()

    def __init__(self) -> None:
        super().__init__(F("started_at"), F("ended_at"), Value("[)"))


class UsageInterval(Labelled):
    """`quantity` of a SKU used by one resource in `[started_at, ended_at)`, at a pinned price.

    Billing knows the resource only as `(kind, id, label)`; `resource_attempt` fences older
    placements. `billed_micros` is what has been posted so far: the next posting is
    `floor(price x quantity x time) - billed_micros`, whatever the ticks were. Nothing is billed
    past `billable_until`, the last proof of life and the grace; None where none is needed.
    """

    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="intervals"
    )
    sku = models.ForeignKey("billing.Sku", on_delete=models.PROTECT, related_name="+")
    price = models.ForeignKey("billing.Price", on_delete=models.PROTECT, related_name="+")
    resource_kind = models.CharField(max_length=20)
    resource_id = models.BigIntegerField()
    resource_attempt = models.PositiveIntegerField()
    resource_public_id = models.CharField(max_length=40)
    resource_label = models.CharField(max_length=200)
    quantity = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    billable_until = models.DateTimeField(null=True)
    rated_until = models.DateTimeField()
    billed_micros = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["resource_kind", "resource_id", "resource_attempt", "sku"],
                name="interval_once_per_attempt",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")),
                name="interval_ends_after_start",
            ),
            models.CheckConstraint(
                condition=Q(billed_micros__gte=0), name="interval_billed_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(ended_at__lte=F("billable_until"))
                | Q(ended_at__isnull=True)
                | Q(billable_until__isnull=True),
                name="interval_ends_when_proven",
            ),
            models.CheckConstraint(
                condition=Q(rated_until__lte=F("billable_until")) | Q(billable_until__isnull=True),
                name="interval_rated_when_proven",
            ),
            ExclusionConstraint(
                name="interval_no_overlap",
                expressions=[
                    (KindRange(), RangeOperators.EQUAL),
                    (IdRange("resource_id"), RangeOperators.EQUAL),
                    (IdRange("sku_id"), RangeOperators.EQUAL),
                    (Span(), RangeOperators.OVERLAPS),
                ],
            ),
        ]
        indexes = [
            # No column that a tick changes is in any index: its updates stay on their page.
            models.Index(
                fields=["account"], condition=Q(ended_at__isnull=True), name="interval_open"
            ),
            models.Index(fields=["account", "-started_at"], name="interval_account"),
            models.Index(
                fields=["account", "project", "started_at"],
                condition=~Q(project=""),
                name="interval_project",
            ),
            models.Index(
                fields=["account", "member", "started_at"],
                condition=Q(member__isnull=False),
                name="interval_member",
            ),
            models.Index(
                fields=["account", "api_key", "started_at"],
                condition=Q(api_key__isnull=False),
                name="interval_api_key",
            ),
        ]


class RatedUsage(models.Model):
    """What of an interval was posted in one month: `[segment_start, segment_end)`, micro-units.

    Each tick makes the month's slice longer, the interval's true end may make it shorter; the row
    is never taken away. `debt_micros` of the amount is covered by no credit. `period_start` is the
    month it counts in: the month of the time itself, or, where that was closed already, the one
    in which it was posted. What `is_back` runs backwards: time of a closed month given back.
    """

    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="rated", db_index=False
    )
    interval = models.ForeignKey(
        UsageInterval, on_delete=models.PROTECT, related_name="rated", db_index=False
    )
    period_start = models.DateTimeField()
    segment_start = models.DateTimeField()
    segment_end = models.DateTimeField()
    amount_micros = models.BigIntegerField()
    debt_micros = models.BigIntegerField(default=0)
    is_back = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["interval", "segment_start", "is_back"], name="rated_once"
            ),
            models.CheckConstraint(
                condition=Q(
                    is_back=False,
                    segment_end__gte=F("segment_start"),
                    amount_micros__gte=0,
                    debt_micros__gte=0,
                    debt_micros__lte=F("amount_micros"),
                )
                | Q(
                    is_back=True,
                    segment_end__lt=F("segment_start"),
                    amount_micros__lte=0,
                    debt_micros=0,
                ),
                name="rated_sign_follows_time",
            ),
        ]
        indexes = [models.Index(fields=["account", "period_start"], name="rated_period")]


class UsageCredit(models.Model):
    """Usage that a fault of ours cost, given back in full. Appended once an interval, for ever.

    `words` say why, for people; `entry` is None where the time had cost nothing. It counts in the
    month it is posted in, `period_start`, whenever the usage was.
    """

    account = models.ForeignKey(
        "billing.BillingAccount",
        on_delete=models.PROTECT,
        related_name="usage_credits",
        db_index=False,
    )
    interval = models.OneToOneField(
        UsageInterval, on_delete=models.PROTECT, related_name="usage_credit"
    )
    reason = models.CharField(max_length=24)
    words = models.CharField(max_length=300)
    microseconds = models.BigIntegerField()
    amount_micros = models.BigIntegerField()
    period_start = models.DateTimeField()
    entry = models.OneToOneField(
        "billing.JournalEntry", on_delete=models.PROTECT, null=True, related_name="usage_credit"
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_micros__gt=0, entry__isnull=False)
                | Q(amount_micros=0, entry__isnull=True),
                name="credit_has_entry",
            ),
            models.CheckConstraint(condition=Q(microseconds__gte=0), name="credit_time"),
        ]
        indexes = [models.Index(fields=["account", "period_start"], name="credit_period")]


class UsageMeasure(models.Model):
    """How busy an interval's units were in one hour, by whoever runs the resource.

    `unit_seconds` were measured at all; a second without a sample is unknown, neither busy nor
    idle. `busy_ppm_seconds` is the sum of their utilisation in parts per million, `idle_seconds`
    how many of them did nothing.
    """

    interval = models.ForeignKey(
        UsageInterval, on_delete=models.PROTECT, related_name="measures", db_index=False
    )
    hour = models.DateTimeField()
    unit_seconds = models.PositiveIntegerField()
    busy_ppm_seconds = models.BigIntegerField()
    idle_seconds = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["interval", "hour"], name="measure_once_an_hour"),
            models.CheckConstraint(
                condition=Q(unit_seconds__gt=0, idle_seconds__lte=F("unit_seconds"))
                & Q(busy_ppm_seconds__gte=0),
                name="measure_in_bounds",
            ),
        ]
