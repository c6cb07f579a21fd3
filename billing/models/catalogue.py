"""What things cost."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import BigIntegerRangeField, DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Value

from billing.choices import Meter
from portal.lib import clock
from portal.lib.money import micros_per_hour

# A month of storage counts as 730 hours, whatever the calendar says: 365 days x 24 hours / 12, the
# average month by which the large clouds quote and charge a GiB-month. So a day of storage costs
# the same in February and in March.
HOURS_PER_MONTH = 730


class IdRange(Func):
    """`[id, id]` as an int8range: `=` on it needs no extension, which the embedded store lacks."""

    function = "int8range"
    output_field = BigIntegerRangeField()

    def __init__(self, field: str) -> None:
        super().__init__(F(field), F(field), Value("[]"))


class Sku(models.Model):
    """Something that is metered and sold by time, such as one A100 in a pool or a GiB of files."""

    code = models.SlugField(max_length=60, unique=True)
    label = models.CharField(max_length=100)
    meter = models.CharField(max_length=10, choices=Meter, default=Meter.GPU)
    unit = models.CharField(max_length=30, default="GPU-hour")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(meter__in=Meter.values), name="sku_meter")
        ]

    def __str__(self) -> str:
        return self.label


class PriceBook(models.Model):
    """A list of prices; negotiated teams have one of their own."""

    name = models.CharField(max_length=80, unique=True)
    is_default = models.BooleanField(default=False)
    currency = models.CharField(max_length=3, default="usd")
    created_at = models.DateTimeField(default=clock.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=models.Q(is_default=True),
                name="price_book_one_default",
            )
        ]


class Price(models.Model):
    """Micro-units per unit and `unit_hours` hours, valid in `[lower, upper)`; one at an instant.

    `unit_hours` is 1 for what is sold by the hour and `HOURS_PER_MONTH` for what is sold by the
    month. Cost is `floor(unit_micros x quantity x time / unit_hours)`, over the whole time at once.
    The database keeps it as it is: only its end may be moved nearer, never before the start of
    what is charged by it.
    """

    book = models.ForeignKey(PriceBook, on_delete=models.PROTECT, related_name="prices")
    sku = models.ForeignKey(Sku, on_delete=models.PROTECT, related_name="prices")
    unit_micros = models.BigIntegerField()
    unit_hours = models.PositiveIntegerField(default=1)
    valid_during = DateTimeRangeField()
    # When it was announced, and why it was not announced sooner where it had to be.
    published_at = models.DateTimeField(default=clock.now, editable=False)
    reason = models.CharField(max_length=300, blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(unit_micros__gte=0), name="price_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(unit_hours__gte=1), name="price_hours_positive"
            ),
            ExclusionConstraint(
                name="price_no_overlap",
                expressions=[
                    (IdRange("book_id"), RangeOperators.EQUAL),
                    (IdRange("sku_id"), RangeOperators.EQUAL),
                    ("valid_during", RangeOperators.OVERLAPS),
                ],
            ),
        ]

    @property
    def micros_per_hour(self) -> int:
        """What one unit costs an hour, rounded up; exact where it is sold by the hour."""
        return micros_per_hour(self.unit_micros, unit_hours=self.unit_hours)


class PriceNotice(models.Model):
    """That a team was told of a price to come; one a price and team, for ever."""

    price = models.ForeignKey(Price, on_delete=models.CASCADE, related_name="notices")
    account = models.ForeignKey(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="price_notices"
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["price", "account"], name="price_notice_once")
        ]
