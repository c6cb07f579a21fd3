"""The staff console's price books: looked at, and added to from an instant on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.actor import Actor
from accounts.models import User
from billing.actions.accounts import default_book
from billing.actions.prices import (
    MAX_MICROS_PER_HOUR,
    MAX_REASON,
    add_price,
    open_book,
    withdraw_price,
)
from billing.documents.words import unit_price
from billing.models import BillingAccount, Price, Sku
from billing.queries.periods import midnight_of
from portal.lib.errors import InvalidInput, PortalError
from portal.lib.money import MICROS
from portal.lib.staff import LookOnlyAdmin


class PriceForm(forms.Form):
    """A price from a day on, or from now on."""

    sku = forms.ModelChoiceField(
        Sku.objects.order_by("code"), label="What", widget=UnfoldAdminSelectWidget()
    )
    price = forms.DecimalField(
        label="Price of one unit, in dollars",
        min_value=0,
        max_value=Decimal(MAX_MICROS_PER_HOUR) / MICROS,
        max_digits=12,
        decimal_places=6,
        help_text="Of a GPU and hour, of a GiB and month.",
        widget=UnfoldAdminDecimalFieldWidget(),
    )
    starts_on = forms.DateField(
        label="From the beginning of this day in UTC",
        required=False,
        help_text="Empty: from now on.",
        widget=UnfoldAdminSingleDateWidget(),
    )
    reason = forms.CharField(
        label="Why a raise is not announced ahead",
        required=False,
        max_length=MAX_REASON,
        widget=UnfoldAdminTextInputWidget(),
    )


@admin.register(Price)
class PriceAdmin(LookOnlyAdmin):
    """The price books."""

    list_display = ("sku_code", "book_name", "per_unit", "valid_during", "published_at")
    list_select_related = ("sku", "book")
    search_fields = ("sku__code", "sku__label", "book__name")
    ordering = ("book__name", "sku__code", "valid_during")
    fields = ("sku_code", "book_name", "per_unit", "valid_during", "published_at", "reason")
    readonly_fields = ("sku_code", "book_name", "per_unit", "published_at")
    actions_list: ClassVar[list[str]] = ["add"]
    actions_detail: ClassVar[list[str]] = ["withdraw"]

    @admin.display(description="SKU")
    def sku_code(self, found: Price) -> str:
        """What is sold."""
        return found.sku.code

    @admin.display(description="Book")
    def book_name(self, found: Price) -> str:
        """For whom."""
        return found.book.name

    @admin.display(description="Price", ordering="unit_micros")
    def per_unit(self, found: Price) -> str:
        """Of one unit."""
        return unit_price(found.unit_micros, found.unit_hours)

    @action(  # type: ignore[untyped-decorator]
        description="Set a list price", url_path="set", permissions=["view"]
    )
    def add(self, request: HttpRequest) -> HttpResponse:
        """Set or announce a list price."""
        return price_page(self, request, None)

    @action(  # type: ignore[untyped-decorator]
        description="Withdraw", url_path="withdraw", permissions=["view"]
    )
    def withdraw(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Take back a price that has not begun."""
        staff = _staff(self, request)
        if request.method == "POST":
            try:
                withdraw_price(Actor.staff(staff, team=None, reason="withdrawn"), object_id)
            except PortalError as error:
                messages.error(request, error.message)
            else:
                messages.success(request, "The price is withdrawn.")
            return HttpResponseRedirect(reverse("admin:billing_price_changelist"))
        found = Price.objects.select_related("sku").filter(pk=object_id).first()
        if found is None:
            raise Http404
        context = {
            **self.admin_site.each_context(request),
            "title": "Withdraw a price",
            "opts": self.model._meta,
            "price": found,
            "price_text": self.per_unit(found),
        }
        return TemplateResponse(request, "admin/billing/price/withdraw.html", context)


def price_page(
    console: ModelAdmin[Any], request: HttpRequest, account: BillingAccount | None
) -> HttpResponse:
    """Ask for a price of the list, or of the book of `account`, and set it as staff."""
    staff = _staff(console, request)
    form = PriceForm(request.POST or None)
    if form.is_valid() and _set(request, staff, account, form):
        return HttpResponseRedirect(reverse("admin:billing_price_changelist"))
    context: dict[str, Any] = {
        **console.admin_site.each_context(request),
        "title": "Negotiate a price" if account else "Set a list price",
        "opts": Price._meta,
        "form": form,
        "account": account,
    }
    status = 400 if form.errors else 200
    return TemplateResponse(request, "admin/billing/price/set.html", context, status=status)


def _staff(console: ModelAdmin[Any], request: HttpRequest) -> User:
    if not console.has_view_permission(request) or not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def _set(
    request: HttpRequest, staff: User, account: BillingAccount | None, form: PriceForm
) -> bool:
    data = form.cleaned_data
    actor = Actor.staff(staff, team=account.team if account else None, reason=data["reason"])
    try:
        with transaction.atomic():
            book = open_book(actor, account.pk) if account else default_book()
            made = add_price(
                actor,
                book,
                data["sku"].code,
                unit_micros=int(data["price"] * MICROS),
                starts_at=midnight_of(data["starts_on"]) if data["starts_on"] else None,
                reason=data["reason"],
            )
    except InvalidInput as error:
        for name, problem in error.fields.items():
            field = {"starts_at": "starts_on"}.get(name, name)
            form.add_error(field if field in form.fields else None, problem)
        return False
    except PortalError as error:
        form.add_error(None, error.message)
        return False
    text = unit_price(made.unit_micros, made.unit_hours)
    messages.success(request, f"{data['sku'].label} costs {text} in {book.name}.")
    return True
