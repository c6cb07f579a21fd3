"""Forms of notebooks. They parse; what may be is decided by the action."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings

from clusters.actions.notebook_checks import NotebookRequest, environments_of
from clusters.forms import RefusedForm, RunForm
from clusters.models import Notebook, Pool
from clusters.words import minutes_words
from portal.lib import clock

IDLE_CHOICES = (30, 60, 240)
MAX_DIGITS = 6
# The widest any clock is from UTC.
MOST_OFFSET = 15 * 60
LOCAL_TIME = "%Y-%m-%dT%H:%M"


def idle_choices(chosen: int | None = None) -> list[tuple[str, str]]:
    """Minutes to choose from, with those of the settings and those chosen before."""
    minutes = {*IDLE_CHOICES, settings.IDLE_MINUTES, chosen or 0} - {0}
    return [*((str(one), minutes_words(one)) for one in sorted(minutes)), ("0", "Never")]


class StopsForm(RefusedForm):
    """When a notebook stops by itself.

    A time is typed as the person's clock shows it; `utc_offset`, which the page's script fills in,
    is how many minutes that clock is behind UTC. Without the script it is UTC.
    """

    idle = forms.TypedChoiceField(
        label="Stop when idle for",
        coerce=int,
        widget=forms.RadioSelect,
        error_messages={
            "required": "Choose how long it may be idle.",
            "invalid_choice": "Choose one of the list.",
        },
    )
    stop_at = forms.DateTimeField(
        label="Stop at",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=LOCAL_TIME),
        error_messages={"invalid": "Write a date and a time."},
    )
    utc_offset = forms.IntegerField(
        required=False,
        min_value=-MOST_OFFSET,
        max_value=MOST_OFFSET,
        initial=0,
        widget=forms.HiddenInput,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        idle = self.fields["idle"]
        assert isinstance(idle, forms.ChoiceField)  # noqa: S101  # declared above
        asked = str(self["idle"].value())
        is_number = asked.isascii() and asked.isdigit() and len(asked) <= MAX_DIGITS
        idle.choices = idle_choices(int(asked) if is_number else None)

    @staticmethod
    def values_of(own: Notebook | None) -> dict[str, Any]:
        """What the fields start with: those of a notebook, else those of the settings."""
        if own is None:
            return {"idle": settings.IDLE_MINUTES}
        is_to_come = own.stop_at is not None and own.stop_at > clock.now()
        return {"idle": own.idle_minutes, "stop_at": own.stop_at if is_to_come else None}

    def clean(self) -> dict[str, Any]:
        """The time in UTC."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        at: datetime | None = data.get("stop_at")
        if at is not None:
            try:
                data["stop_at"] = at + timedelta(minutes=data.get("utc_offset") or 0)
            except OverflowError:
                self.add_error("stop_at", "Write a date and a time.")
        return data

    @property
    def stops(self) -> dict[str, Any]:
        """What a valid form asks for, as `set_stops` takes it."""
        return {
            "idle_minutes": self.cleaned_data["idle"],
            "stop_at": self.cleaned_data.get("stop_at"),
        }


class NotebookForm(RunForm, StopsForm):
    """A notebook as a person asks for it."""

    environment = forms.ChoiceField(
        widget=forms.RadioSelect,
        error_messages={
            "required": "Choose an environment.",
            "invalid_choice": "There is no such environment. Choose one of the list.",
        },
    )

    @staticmethod
    def environments_of(pool: Pool) -> list[str]:
        """Those that have Jupyter."""
        return environments_of(pool)

    @property
    def request(self) -> NotebookRequest:
        """What a valid form asks for."""
        data = self.cleaned_data
        return NotebookRequest(
            name=data["name"],
            pool=data["pool"],
            gpus=data["gpus"],
            environment=data["environment"],
            volume=data["volume"],
            lifetime_seconds=self.seconds,
            project=data["project"],
            max_cost_micros=self.max_cost_micros,
            **self.stops,
        )
