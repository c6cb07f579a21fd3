"""What things cost."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import BigIntegerRangeField, DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Value

from portal.lib import clock


class IdRange(Func):
    """`[id, id]` as an int8range: `=` on it needs no extension, which the embedded store lacks."""

    function = "int8range"
    output_field = BigIntegerRangeField()

    def __init__(self, field: str) -> None:
        super().__init__(F(field), F(field), Value("[]"))


class Sku(models.Model):
    """Something that is metered and sold by the hour, such as one A100 in a pool."""

    code = models.SlugField(max_length=60, unique=True)
    label = models.CharField(max_length=100)
    unit = models.CharField(max_length=30, default="GPU-hour")


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
    """Micro-units per unit and hour, valid in `[lower, upper)`; no two at one instant."""

    book = models.ForeignKey(PriceBook, on_delete=models.PROTECT, related_name="prices")
    sku = models.ForeignKey(Sku, on_delete=models.PROTECT, related_name="prices")
    micros_per_hour = models.BigIntegerField()
    valid_during = DateTimeRangeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(micros_per_hour__gte=0), name="price_not_negative"
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
