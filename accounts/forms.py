"""Forms of accounts. They say what a field is; what it may hold the actions decide."""

from __future__ import annotations

from django import forms

from accounts.actions import people, teams
from portal.lib.errors import PortalError


class PersonForm(forms.Form):
    """One's own name."""

    name = forms.CharField(
        required=False,
        max_length=people.MAX_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        help_text="Shown to the people of your teams instead of your e-mail address.",
    )


class TeamForm(forms.Form):
    """The team's name."""

    name = forms.CharField(
        max_length=teams.MAX_NAME, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )


class ApiKeyForm(forms.Form):
    """A new API key."""

    name = forms.CharField(
        max_length=teams.MAX_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="What it is for, such as “laptop” or “nightly training”.",
    )


def add_refusal(form: forms.Form, error: PortalError) -> None:
    """Show an action's refusal at the fields it names, or above the form."""
    if not error.fields:
        form.add_error(None, error.message)
    for name, message in error.fields.items():
        form.add_error(name if name in form.fields else None, message)
