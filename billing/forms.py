"""Forms of billing: amounts are typed in dollars and become whole cents."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django_countries import countries

from billing.actions.auto_top_up import MAX_MONTHLY_CENTS
from billing.actions.budgets import MAX_BUDGET_MICROS
from billing.actions.topups import MAX_CENTS, MIN_CENTS
from billing.choices import BudgetScope, TaxIdKind
from portal.lib.money import MICROS, MICROS_PER_CENT

_CENTS = 100


class TopUpForm(forms.Form):
    """How much credit to add."""

    amount = forms.DecimalField(
        label="Amount",
        min_value=Decimal(MIN_CENTS) / _CENTS,
        max_value=Decimal(MAX_CENTS) / _CENTS,
        max_digits=8,
        decimal_places=2,
        help_text=f"From ${MIN_CENTS // _CENTS} to ${MAX_CENTS // _CENTS:,}.",
        widget=forms.NumberInput(attrs={"inputmode": "decimal", "step": "0.01"}),
        error_messages={
            "required": "Say how much to add.",
            "invalid": "Write an amount in dollars, such as 25.",
        },
    )

    @property
    def amount_cents(self) -> int:
        """The amount of a valid form."""
        return int(self.cleaned_data["amount"] * _CENTS)


def _dollars(label: str, *, least: int, most: int, required: str, help_text: str) -> Any:
    """A field for an amount between two numbers of cents."""
    return forms.DecimalField(
        label=label,
        min_value=Decimal(least) / _CENTS,
        max_value=Decimal(most) / _CENTS,
        max_digits=10,
        decimal_places=2,
        help_text=help_text,
        widget=forms.NumberInput(attrs={"inputmode": "decimal", "step": "0.01"}),
        error_messages={
            "required": required,
            "invalid": "Write an amount in dollars, such as 25.",
        },
    )


class AutoTopUpForm(forms.Form):
    """When to charge the default card, how much, and where to stop."""

    threshold = _dollars(
        "When less is available than",
        least=0,
        most=MAX_CENTS,
        required="Say when to top up.",
        help_text="Running work counts: what is held for it is not available.",
    )
    amount = _dollars(
        "Add",
        least=MIN_CENTS,
        most=MAX_CENTS,
        required="Say how much to add.",
        help_text="More at once where that does not lead back over the line above.",
    )
    monthly_maximum = _dollars(
        "At most in a calendar month",
        least=MIN_CENTS,
        most=MAX_MONTHLY_CENTS,
        required="Say where to stop.",
        help_text="Taxes included. Nothing more is charged by itself before the next month.",
    )

    def cents(self, name: str) -> int:
        """An amount of a valid form."""
        return int(self.cleaned_data[name] * _CENTS)


class RefundForm(forms.Form):
    """How much unused credit goes back to the card."""

    amount = _dollars(
        "Amount",
        least=1,
        most=MAX_CENTS,
        required="Say how much to refund.",
        help_text="The tax on it goes back with it.",
    )
    reason = forms.CharField(label="Reason", max_length=300, required=False)

    @property
    def amount_cents(self) -> int:
        """The amount of a valid form."""
        return int(self.cleaned_data["amount"] * _CENTS)


class BudgetForm(forms.Form):
    """How much of what may be spent, and whether it is a hard limit."""

    scope = forms.ChoiceField(label="Of", choices=BudgetScope.choices)
    target = forms.CharField(
        label="Which one",
        max_length=254,
        required=False,
        help_text="A project's name, a member's address, the id of an API key or of a run. "
        "Empty for the whole team.",
        widget=forms.TextInput(attrs={"list": "budget-targets", "autocomplete": "off"}),
    )
    amount = _dollars(
        "At most",
        least=1,
        most=MAX_BUDGET_MICROS // MICROS_PER_CENT,
        required="Say how much.",
        help_text="In a calendar month (UTC); of a run over its whole life.",
    )
    is_hard = forms.BooleanField(
        label="Stop what is under it when it is used up",
        required=False,
        help_text="Runs are asked to end, with time for a checkpoint. Otherwise it only tells.",
    )

    @property
    def amount_micros(self) -> int:
        """The amount of a valid form."""
        return int(self.cleaned_data["amount"] * MICROS)


class DetailsForm(forms.Form):
    """Who invoices are made out to."""

    legal_name = forms.CharField(
        label="Name",
        max_length=200,
        help_text="Of the company, university or person.",
        error_messages={"required": "Say who the invoice is for."},
    )
    email = forms.EmailField(
        label="Email for billing", required=False, help_text="Printed on invoices."
    )
    address = forms.CharField(
        label="Street and number",
        max_length=400,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    postal_code = forms.CharField(label="Postal code", max_length=20, required=False)
    city = forms.CharField(label="City", max_length=100, required=False)
    region = forms.CharField(label="State or region", max_length=60, required=False)
    country = forms.ChoiceField(label="Country", choices=lambda: [("", "Choose one"), *countries])
    is_business = forms.BooleanField(label="This is a business", required=False)
    tax_id_kind = forms.ChoiceField(
        label="Kind of tax number", choices=[("", "None"), *TaxIdKind.choices], required=False
    )
    tax_id = forms.CharField(
        label="Tax number",
        max_length=40,
        required=False,
        help_text="Its form and check digits are checked.",
    )
