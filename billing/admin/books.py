"""The staff console's view of money, and the one thing staff do to it: give credit."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminDateWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from accounts.actor import Actor
from accounts.forms import add_refusal
from accounts.models import User
from billing.actions.credit import GIVEN, MAX_GRANT_MICROS, MAX_REASON, grant_credit
from billing.admin.documents import terms_page
from billing.admin_prices import price_page
from billing.choices import LotKind
from billing.documents.words import exact, price
from billing.models import (
    BillingAccount,
    CreditLot,
    Hold,
    JournalEntry,
    LedgerAccount,
    Payment,
    Posting,
    UsageInterval,
    WebhookEvent,
)
from billing.queries.funds import funds_of
from portal.lib.errors import PortalError
from portal.lib.money import MICROS, MICROS_PER_CENT, format_money
from portal.lib.staff import LookOnlyAdmin, LookOnlyInline


class GrantForm(forms.Form):
    """Credit given by staff. `key` makes a form that is sent twice give once."""

    amount = forms.DecimalField(
        label="Amount in dollars",
        min_value=Decimal("0.01"),
        max_value=Decimal(MAX_GRANT_MICROS) / MICROS,
        max_digits=8,
        decimal_places=2,
        widget=UnfoldAdminDecimalFieldWidget(),
    )
    kind = forms.ChoiceField(
        choices=[(kind.value, kind.label) for kind in GIVEN],
        widget=UnfoldAdminSelectWidget(),
        help_text="Goodwill makes something good; promotional credit is used before it.",
    )
    last_day = forms.DateField(
        label="Last day",
        required=False,
        widget=UnfoldAdminDateWidget(attrs={"type": "date"}),
        help_text="It is gone after the end of this day in UTC. Empty: it stays.",
    )
    reason = forms.CharField(
        max_length=MAX_REASON,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="The team reads it on its billing page; the audit trail keeps it.",
    )
    key = forms.UUIDField(widget=forms.HiddenInput)

    @property
    def amount_micros(self) -> int:
        """The amount of a valid form."""
        return int(self.cleaned_data["amount"] * 100) * MICROS_PER_CENT

    @property
    def expires_at(self) -> datetime | None:
        """The first instant after the last day of a valid form."""
        day = self.cleaned_data["last_day"]
        return datetime.combine(day + timedelta(days=1), time(), UTC) if day else None


class LotsOfAccount(LookOnlyInline):
    """A team's credit."""

    model = CreditLot
    fields = ("kind", "amount", "remaining", "expires_at", "created_at")
    readonly_fields = fields
    show_change_link = False

    def amount(self, lot: CreditLot) -> str:
        """What came in."""
        return exact(lot.amount_micros)

    def remaining(self, lot: CreditLot) -> str:
        """What is left."""
        return exact(lot.remaining_micros)


class HoldsOfAccount(LookOnlyInline):
    """What is set aside."""

    model = Hold
    fields = ("resource_kind", "resource_id", "amount", "created_at", "released_at")
    readonly_fields = fields
    show_change_link = False

    def amount(self, hold: Hold) -> str:
        """How much."""
        return exact(hold.amount_micros)


class PostingsOfEntry(LookOnlyInline):
    """The sides of an entry."""

    model = Posting
    fields = ("line", "of", "amount", "currency")
    readonly_fields = fields
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Posting]:
        """With the line of the chart and its team."""
        found: QuerySet[Posting] = super().get_queryset(request)
        return found.select_related("account__account__team")

    @admin.display(description="Account")
    def line(self, posting: Posting) -> str:
        """The line of the chart."""
        return posting.account.get_code_display()

    @admin.display(description="Of")
    def of(self, posting: Posting) -> str:
        """Whose line."""
        return _whose(posting.account)

    def amount(self, posting: Posting) -> str:
        """Debit positive."""
        return exact(posting.amount_micros)


@admin.register(BillingAccount)
class BillingAccountAdmin(LookOnlyAdmin):
    """Payers, and giving them credit."""

    list_display = ("team", "currency", "price_book_name", "created_at")
    list_select_related = ("team", "price_book")
    search_fields = ("team__name", "team__public_id", "stripe_customer_id")
    ordering = ("-pk",)
    fields = (
        "team",
        "balance",
        "held",
        "burn",
        "collection",
        "credit_limit",
        "currency",
        "price_book_name",
        "closed_until",
        "stripe_customer_id",
        "created_at",
    )
    readonly_fields = (
        "balance", "held", "burn", "credit_limit", "price_book_name", "created_at",
    )  # fmt: skip
    inlines = (LotsOfAccount, HoldsOfAccount)
    actions_detail: ClassVar[list[str]] = ["grant", "own_prices", "terms"]

    @admin.display(description="Price book")
    def price_book_name(self, account: BillingAccount) -> str:
        """Which prices it pays."""
        return account.price_book.name

    def credit_limit(self, account: BillingAccount) -> str:
        """How far into debt it may go."""
        return format_money(account.credit_limit_micros)

    def balance(self, account: BillingAccount) -> str:
        """Now."""
        return format_money(funds_of(account).balance_micros)

    def held(self, account: BillingAccount) -> str:
        """Now."""
        return format_money(funds_of(account).held_micros)

    def burn(self, account: BillingAccount) -> str:
        """Now."""
        return price(funds_of(account).burn_micros_per_hour)

    @action(  # type: ignore[untyped-decorator]
        description="Negotiate a price", url_path="own-prices", permissions=["view"]
    )
    def own_prices(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Set a price in the team's own book, which is made with the first."""
        account = BillingAccount.objects.select_related("team").filter(pk=object_id).first()
        if account is None:
            raise Http404
        return price_page(self, request, account)

    @action(  # type: ignore[untyped-decorator]
        description="Set terms", url_path="terms", permissions=["view"]
    )
    def terms(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """How the team pays."""
        account = BillingAccount.objects.select_related("team").filter(pk=object_id).first()
        if account is None:
            raise Http404
        return terms_page(self, request, account)

    @action(  # type: ignore[untyped-decorator]
        description="Grant credit", url_path="grant-credit", permissions=["view"]
    )
    def grant(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Ask how much and why; then give it as staff."""
        if not self.has_view_permission(request) or not isinstance(request.user, User):
            raise PermissionDenied
        account = BillingAccount.objects.select_related("team").filter(pk=object_id).first()
        if account is None:
            raise Http404
        form = GrantForm(request.POST or None, initial={"key": uuid.uuid4()})
        if form.is_valid() and _granted(request, request.user, account, form):
            return HttpResponseRedirect(
                reverse("admin:billing_billingaccount_change", args=[account.pk])
            )
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Grant credit",
            "opts": self.model._meta,
            "form": form,
            "account": account,
            "balance_text": format_money(funds_of(account).balance_micros),
        }
        return TemplateResponse(
            request,
            "admin/billing/billingaccount/grant_credit.html",
            context,
            status=400 if form.errors else 200,
        )


def _granted(request: HttpRequest, user: User, account: BillingAccount, form: GrantForm) -> bool:
    reason = form.cleaned_data["reason"]
    try:
        grant_credit(
            Actor.staff(user, team=account.team, reason=reason),
            account,
            amount_micros=form.amount_micros,
            kind=LotKind(form.cleaned_data["kind"]),
            expires_at=form.expires_at,
            reason=reason,
            idempotency_key=f"staff:{form.cleaned_data['key']}",
        )
    except PortalError as error:
        add_refusal(form, error)
        return False
    messages.success(request, f"{format_money(form.amount_micros)} given to {account.team.name}.")
    return True


@admin.register(LedgerAccount)
class LedgerAccountAdmin(LookOnlyAdmin):
    """The chart of accounts."""

    list_display = ("code", "whose", "balance", "currency")
    list_select_related = ("account__team",)
    list_filter = ("code",)
    search_fields = ("account__team__name",)
    ordering = ("code", "pk")
    fields = ("code", "whose", "balance", "currency")
    readonly_fields = ("whose", "balance")

    @admin.display(description="Of")
    def whose(self, account: LedgerAccount) -> str:
        """The team, or the house."""
        return _whose(account)

    @admin.display(ordering="balance_micros")
    def balance(self, account: LedgerAccount) -> str:
        """Debit positive."""
        return exact(account.balance_micros)


@admin.register(JournalEntry)
class JournalEntryAdmin(LookOnlyAdmin):
    """The journal."""

    list_display = ("id", "kind", "effective_at", "memo", "actor")
    list_filter = ("kind",)
    search_fields = ("idempotency_key", "memo", "actor")
    ordering = ("-pk",)
    fields = ("kind", "idempotency_key", "effective_at", "recorded_at", "memo", "actor")
    readonly_fields = ("recorded_at",)
    inlines = (PostingsOfEntry,)


@admin.register(Payment)
class PaymentAdmin(LookOnlyAdmin):
    """Money coming in."""

    list_display = ("public_id", "team", "amount", "status", "created_at", "settled_at")
    list_select_related = ("account__team",)
    list_filter = ("status",)
    search_fields = ("public_id", "checkout_session_id", "payment_intent_id", "account__team__name")
    ordering = ("-pk",)
    fields = (
        "public_id",
        "team",
        "amount",
        "currency",
        "status",
        "checkout_session_id",
        "payment_intent_id",
        "created_at",
        "settled_at",
    )
    readonly_fields = ("public_id", "team", "amount", "created_at")

    def team(self, payment: Payment) -> str:
        """Who pays."""
        return payment.account.team.name

    @admin.display(ordering="amount_micros")
    def amount(self, payment: Payment) -> str:
        """How much."""
        return format_money(payment.amount_micros)


@admin.register(UsageInterval)
class UsageIntervalAdmin(LookOnlyAdmin):
    """What was metered."""

    list_display = ("resource_public_id", "resource_label", "quantity", "started_at", "ended_at")
    search_fields = ("resource_public_id", "resource_label", "account__team__name")
    ordering = ("-pk",)
    exclude = ("account", "sku", "price", "billed_micros")
    readonly_fields = ("billed",)

    def billed(self, interval: UsageInterval) -> str:
        """Posted so far."""
        return exact(interval.billed_micros)


@admin.register(WebhookEvent)
class WebhookEventAdmin(LookOnlyAdmin):
    """What Stripe sent."""

    list_display = ("stripe_event_id", "type", "status", "attempts", "received_at", "error")
    list_filter = ("status", "type")
    search_fields = ("stripe_event_id", "type", "body")
    ordering = ("-pk",)
    fields = (
        "stripe_event_id",
        "type",
        "status",
        "attempts",
        "error",
        "received_at",
        "processed_at",
        "body",
    )
    readonly_fields = ("received_at",)


def _whose(account: LedgerAccount) -> str:
    return account.account.team.name if account.account else "FastGPU"
