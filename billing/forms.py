"""Forms of billing: amounts are typed in dollars and become whole cents."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from billing.actions.auto_top_up import MAX_MONTHLY_CENTS
from billing.actions.topups import MAX_CENTS, MIN_CENTS

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
        max_digits=9,
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
