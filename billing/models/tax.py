"""Who is billed, and at what rates their country taxes."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import BigIntegerRangeField, DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Concat, Lower

from billing.choices import TaxIdKind, TaxIdStatus
from portal.lib import clock


class PlaceRange(Func):
    """Country and region hashed into an int8range of one, for the same reason as `IdRange`."""

    function = "int8range"
    output_field = BigIntegerRangeField()

    def __init__(self) -> None:
        place = Concat(F("country"), Value("-"), Lower("region"), output_field=models.CharField())
        number = Func(
            place, Value(0), function="hashtextextended", output_field=models.BigIntegerField()
        )
        super().__init__(number, number, Value("[]"))


class BillingProfile(models.Model):
    """Who a team's invoices are made out to. Invoices keep a copy of their own.

    `tax_id_is_valid` says only that the number has the form and check digits of its register;
    whether it exists is `tax_id_status`, as of `tax_id_checked_at`.
    """

    account = models.OneToOneField(
        "billing.BillingAccount", on_delete=models.PROTECT, related_name="profile"
    )
    legal_name = models.CharField(max_length=200)
    email = models.EmailField(max_length=254, blank=True, default="")
    address = models.TextField(max_length=400, blank=True, default="")
    postal_code = models.CharField(max_length=20, blank=True, default="")
    city = models.CharField(max_length=100, blank=True, default="")
    region = models.CharField(max_length=60, blank=True, default="")
    country = models.CharField(max_length=2)
    is_business = models.BooleanField(default=False)
    tax_id_kind = models.CharField(max_length=10, choices=TaxIdKind, blank=True, default="")
    tax_id = models.CharField(max_length=40, blank=True, default="")
    tax_id_is_valid = models.BooleanField(default=False)
    tax_id_status = models.CharField(
        max_length=10, choices=TaxIdStatus, default=TaxIdStatus.UNVERIFIED
    )
    tax_id_checked_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(country__regex=r"^[A-Z]{2}$"), name="profile_country"
            ),
            models.CheckConstraint(
                condition=Q(tax_id="", tax_id_kind="", tax_id_is_valid=False)
                | (~Q(tax_id="") & ~Q(tax_id_kind="")),
                name="profile_tax_id_has_kind",
            ),
            models.CheckConstraint(
                condition=Q(tax_id_status=TaxIdStatus.UNVERIFIED)
                | Q(tax_id_checked_at__isnull=False),
                name="profile_tax_id_checked",
            ),
        ]

    def __str__(self) -> str:
        return self.legal_name


class TaxRate(models.Model):
    """Parts per million of the net amount that a place takes in `[lower, upper)`.

    `region` empty is the whole country. Rates are the operator's to enter and keep right.
    """

    country = models.CharField(max_length=2)
    region = models.CharField(max_length=60, blank=True, default="")
    name = models.CharField(max_length=40, help_text="As invoices call it, such as VAT.")
    rate_ppm = models.PositiveIntegerField(help_text="190000 is 19 %.")
    valid_during = DateTimeRangeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(rate_ppm__gte=0, rate_ppm__lte=1_000_000), name="tax_rate_in_bounds"
            ),
            models.CheckConstraint(
                condition=Q(country__regex=r"^[A-Z]{2}$"), name="tax_rate_country"
            ),
            ExclusionConstraint(
                name="tax_rate_no_overlap",
                expressions=[
                    (PlaceRange(), RangeOperators.EQUAL),
                    ("valid_during", RangeOperators.OVERLAPS),
                ],
            ),
        ]

    def __str__(self) -> str:
        place = f"{self.country}-{self.region}" if self.region else self.country
        return f"{self.name} {place}"
