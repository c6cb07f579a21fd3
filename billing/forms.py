"""Forms of billing: amounts are typed in dollars and become whole cents."""

from __future__ import annotations

from decimal import Decimal

from django import forms

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
