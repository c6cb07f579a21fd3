"""Forms of volumes. They parse; whether a volume may be is decided by the action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from clusters.actions.volumes import MAX_NAME
from clusters.models.volume import MAX_GIB
from clusters.queries.volumes import Place

_SIZE_ERRORS = {
    "required": "Say how many GiB.",
    "invalid": "Write a whole number, such as 10.",
    "min_value": "Ask for at least 1 GiB.",
    "max_value": f"A volume has at most {MAX_GIB:,} GiB.",
}


class NameForm(forms.Form):
    """A name."""

    name = forms.CharField(
        max_length=MAX_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "datasets"}),
        error_messages={"required": "Give the volume a name."},
    )


class SizeForm(forms.Form):
    """A size."""

    size_gib = forms.IntegerField(
        label="Size", min_value=1, max_value=MAX_GIB, error_messages=_SIZE_ERRORS
    )


class VolumeForm(NameForm, SizeForm):
    """A volume as a person asks for it."""

    pool = forms.ChoiceField(label="Where", required=False)
    field_order = ("name", "size_gib", "pool")

    def __init__(self, *args: Any, places: Sequence[Place], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["pool"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  # declared above
        field.choices = [(place.pool.slug, place.words) for place in places]
