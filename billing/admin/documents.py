"""The staff console's view of documents and tax: looked at, taken back and given up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django_countries import countries
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.actor import Actor
from accounts.models import User
from billing.actions.collecting import write_off
from billing.actions.credit_notes import issue_credit_note, spread, whole_invoice
from billing.actions.terms import MAX_CREDIT_LIMIT_MICROS, set_tax_rate, set_terms
from billing.admin.asking import ask
from billing.choices import Collection
from billing.documents.words import exact
from billing.models import (
    BillingAccount,
    BillingProfile,
    CreditNote,
    Invoice,
    InvoiceLine,
    InvoiceTax,
    TaxRate,
)
from billing.queries.periods import midnight_of
from portal.lib.money import MICROS, format_money
from portal.lib.staff import LookOnlyAdmin, LookOnlyInline


def _reason() -> forms.CharField:
    return forms.CharField(
        label="Why", max_length=300, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2})
    )


class TakeBackForm(forms.Form):
    """How much of an invoice, and why."""

    amount = forms.DecimalField(
        label="Net amount in dollars",
        required=False,
        min_value=Decimal("0.01"),
        max_digits=12,
        decimal_places=2,
        help_text="Empty: all that is left. The tax on it goes back with it.",
        widget=UnfoldAdminDecimalFieldWidget(),
    )
    reason = _reason()


class GiveUpForm(forms.Form):
    """Why a debt is given up."""

    why = _reason()


class TermsForm(forms.Form):
    """How a team pays."""

    collection = forms.ChoiceField(
        label="Pays", choices=Collection.choices, widget=UnfoldAdminSelectWidget()
    )
    credit_limit = forms.DecimalField(
        label="Credit limit in dollars",
        min_value=0,
        max_value=Decimal(MAX_CREDIT_LIMIT_MICROS) / MICROS,
        max_digits=9,
        decimal_places=2,
        help_text="How far into debt a team that pays by invoice may go.",
        widget=UnfoldAdminDecimalFieldWidget(),
    )


class TaxRateForm(forms.Form):
    """A rate from a day on."""

    country = forms.ChoiceField(choices=lambda: list(countries), widget=UnfoldAdminSelectWidget())
    region = forms.CharField(
        max_length=60,
        required=False,
        help_text="Empty: the whole country.",
        widget=UnfoldAdminTextInputWidget(),
    )
    name = forms.CharField(
        max_length=40,
        help_text="As invoices call it, such as VAT.",
        widget=UnfoldAdminTextInputWidget(),
    )
    rate = forms.DecimalField(
        label="Rate in percent",
        min_value=0,
        max_value=100,
        max_digits=7,
        decimal_places=4,
        widget=UnfoldAdminDecimalFieldWidget(),
    )
    starts_on = forms.DateField(
        label="From the beginning of this day in UTC", widget=UnfoldAdminSingleDateWidget()
    )


def terms_page(console: Any, request: HttpRequest, account: BillingAccount) -> HttpResponse:
    """Ask how a team pays, and set it."""
    form = TermsForm(
        request.POST or None,
        initial={
            "collection": account.collection,
            "credit_limit": Decimal(account.credit_limit_micros) / MICROS,
        },
    )

    def act(user: User) -> str:
        staff = Actor.staff(user, team=account.team, reason="terms")
        limit = int(form.cleaned_data["credit_limit"] * MICROS)
        collection = Collection(form.cleaned_data["collection"])
        set_terms(staff, account.pk, collection=collection, credit_limit_micros=limit)
        return "The terms are set."

    return ask(
        console,
        request,
        form,
        act,
        title="Set terms",
        text=f"How {account.team.name} pays from now on.",
        back=reverse("admin:billing_billingaccount_change", args=[account.pk]),
    )


class LinesOfInvoice(LookOnlyInline):
    """An invoice's lines."""

    model = InvoiceLine
    fields = ("run", "amount")
    readonly_fields = fields
    show_change_link = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[InvoiceLine]:
        """With the interval."""
        found: QuerySet[InvoiceLine] = super().get_queryset(request)
        return found.select_related("interval")

    def run(self, line: InvoiceLine) -> str:
        """What was used."""
        run = f" ({line.interval.resource_public_id})" if line.interval else ""
        return line.label + run

    def amount(self, line: InvoiceLine) -> str:
        """What it came to."""
        return exact(line.amount_micros)


class TaxesOfInvoice(LookOnlyInline):
    """An invoice's taxes."""

    model = InvoiceTax
    fields = ("name", "jurisdiction", "rate_ppm", "base", "tax", "note")
    readonly_fields = fields
    show_change_link = False

    def base(self, row: InvoiceTax) -> str:
        """What is taxed."""
        return format_money(row.base_micros)

    def tax(self, row: InvoiceTax) -> str:
        """What it comes to."""
        return format_money(row.tax_micros)


@admin.register(Invoice)
class InvoiceAdmin(LookOnlyAdmin):
    """Invoices."""

    list_display = ("reference", "team", "kind", "period_start", "status", "issued_at", "total")
    list_display_links = ("reference", "team")
    list_select_related = ("account__team",)
    list_filter = ("status", "kind")
    search_fields = ("public_id", "reference", "account__team__name")
    ordering = ("-pk",)
    fields = (
        "reference",
        "public_id",
        "team",
        "kind",
        "status",
        "period_start",
        "period_end",
        "issued_at",
        "due_at",
        "paid_at",
        "total",
        "seller",
        "buyer",
    )
    readonly_fields = ("public_id", "team", "total")
    inlines = (TaxesOfInvoice, LinesOfInvoice)
    actions_detail: ClassVar[list[str]] = ["take_back", "give_up"]

    def team(self, invoice: Invoice) -> str:
        """Whose usage."""
        return invoice.account.team.name

    @admin.display(ordering="total_micros")
    def total(self, invoice: Invoice) -> str:
        """The exact total."""
        return exact(invoice.total_micros)

    @action(  # type: ignore[untyped-decorator]
        description="Credit note", url_path="credit-note", permissions=["view"]
    )
    def take_back(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Take back all of it or a part."""
        invoice = _invoice(object_id)
        form = TakeBackForm(request.POST or None)

        def act(user: User) -> str:
            amount, reason = form.cleaned_data["amount"], form.cleaned_data["reason"]
            lines = spread(invoice, int(amount * MICROS)) if amount else whole_invoice(invoice)
            staff = Actor.staff(user, team=invoice.account.team, reason=reason)
            note = issue_credit_note(staff, invoice.public_id, lines, reason=reason)
            return f"{note.reference} is issued: {format_money(note.total_micros)}."

        return ask(
            self,
            request,
            form,
            act,
            title="Issue a credit note",
            text=f"Of {invoice}, {format_money(invoice.total_micros)} with tax. It pays what "
            "the team owes; the rest becomes credit.",
            back=reverse("admin:billing_invoice_change", args=[invoice.pk]),
        )

    @action(  # type: ignore[untyped-decorator]
        description="Write off", url_path="write-off", permissions=["view"]
    )
    def give_up(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Give up what is owed."""
        invoice = _invoice(object_id)
        form = GiveUpForm(request.POST or None)

        def act(user: User) -> str:
            why = form.cleaned_data["why"]
            staff = Actor.staff(user, team=invoice.account.team, reason=why)
            write_off(staff, invoice.public_id, why=why)
            return f"What was owed on {invoice} is given up."

        return ask(
            self,
            request,
            form,
            act,
            title="Write off",
            text=f"What is still owed on {invoice} becomes a bad debt. This cannot be undone.",
            back=reverse("admin:billing_invoice_change", args=[invoice.pk]),
        )


def _invoice(key: int) -> Invoice:
    found = Invoice.objects.select_related("account__team").filter(pk=key).first()
    if found is None:
        raise Http404
    return found


@admin.register(CreditNote)
class CreditNoteAdmin(LookOnlyAdmin):
    """What was taken back."""

    list_display = ("reference", "team", "invoice", "issued_at", "total", "reason")
    list_select_related = ("invoice__account__team",)
    search_fields = ("reference", "invoice__reference", "invoice__account__team__name")
    ordering = ("-pk",)
    fields = ("reference", "team", "invoice", "reason", "issued_at", "total", "refund")
    readonly_fields = ("team", "total")

    def team(self, note: CreditNote) -> str:
        """Whose."""
        return note.invoice.account.team.name

    @admin.display(ordering="total_micros")
    def total(self, note: CreditNote) -> str:
        """With tax."""
        return format_money(note.total_micros)


@admin.register(BillingProfile)
class BillingProfileAdmin(LookOnlyAdmin):
    """Who invoices are made out to."""

    list_display = ("legal_name", "team", "country", "tax_id", "tax_id_status")
    list_select_related = ("account__team",)
    search_fields = ("legal_name", "tax_id", "account__team__name")
    ordering = ("-pk",)

    def team(self, profile: BillingProfile) -> str:
        """Whose."""
        return profile.account.team.name


@admin.register(TaxRate)
class TaxRateAdmin(LookOnlyAdmin):
    """What places take."""

    list_display = ("country", "region", "name", "percent", "valid_during")
    list_filter = ("country",)
    ordering = ("country", "region", "-valid_during")
    actions_list: ClassVar[list[str]] = ["set_rate"]

    @admin.display(ordering="rate_ppm")
    def percent(self, rate: TaxRate) -> str:
        """For people."""
        return f"{rate.rate_ppm / 10_000:g} %"

    @action(  # type: ignore[untyped-decorator]
        description="Set a rate", url_path="set", permissions=["view"]
    )
    def set_rate(self, request: HttpRequest) -> HttpResponse:
        """From a day on."""
        form = TaxRateForm(request.POST or None)

        def act(user: User) -> str:
            typed = form.cleaned_data
            set_tax_rate(
                Actor.staff(user, team=None, reason="tax rate"),
                country=typed["country"],
                region=typed["region"],
                name=typed["name"],
                rate_ppm=int(typed["rate"] * 10_000),
                starts_at=midnight_of(typed["starts_on"]),
            )
            return "The rate is set."

        return ask(
            self,
            request,
            form,
            act,
            title="Set a rate",
            text="Rates are yours to keep right: ask a tax adviser. The one before ends there.",
            back=reverse("admin:billing_taxrate_changelist"),
        )
