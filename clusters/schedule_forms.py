"""The form of a schedule. It parses; what may be is decided by the action."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms

from clusters.actions.notebook_checks import environments_of
from clusters.actions.notebook_runs import MAX_PATH, NotebookRun, check_parameters
from clusters.actions.schedules import ScheduleRequest
from clusters.forms import RunForm
from clusters.models import Pool
from clusters.times import MAX_LENGTH

_MONO = {"class": "mono", "spellcheck": "false", "autocapitalize": "off", "autocomplete": "off"}


class ScheduleForm(RunForm):
    """What runs, which `run` reads, and when, which `request` reads with it."""

    notebook = forms.CharField(
        max_length=MAX_PATH,
        help_text="Its path in the volume.",
        widget=forms.TextInput(attrs={**_MONO, "placeholder": "reports/daily.ipynb"}),
        error_messages={"required": "Say which notebook, for example: reports/daily.ipynb"},
    )
    output_folder = forms.CharField(
        label="Keep what it shows in",
        required=False,
        max_length=MAX_PATH,
        help_text="A folder of the volume. Empty: beside the notebook.",
        widget=forms.TextInput(attrs={**_MONO, "placeholder": "reports/runs"}),
    )
    parameters = forms.CharField(
        required=False,
        help_text=(
            "One NAME=value a line, set in a cell after the one tagged parameters. A value that is "
            "JSON is read as such: 7, true, [1, 2]; all else is text."
        ),
        widget=forms.Textarea(attrs={**_MONO, "rows": 3, "placeholder": "days=7"}),
    )
    cron = forms.CharField(
        label="When",
        required=False,
        max_length=MAX_LENGTH,
        help_text="Minute, hour, day of month, month, day of week, as cron reads them.",
        widget=forms.TextInput(attrs=_MONO),
    )
    timezone = forms.CharField(
        label="Time zone",
        max_length=60,
        widget=forms.TextInput(attrs={"list": "zones", "autocomplete": "off"}),
        error_messages={"required": "Say in which time zone, for example: Europe/Berlin"},
    )
    skips_while_running = forms.BooleanField(
        label="Skip a time that comes while the run before still goes", required=False
    )
    catches_up = forms.BooleanField(
        label="Run once for the times that passed while FastGPU was away", required=False
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        volume = self.fields["volume"]
        volume.required = True
        volume.help_text = "The notebook lies there, and its output will."
        volume.error_messages["required"] = "Choose the volume that the notebook lies in."

    @staticmethod
    def environments_of(pool: Pool) -> list[str]:
        """Those that have Jupyter."""
        return environments_of(pool)

    def clean_parameters(self) -> dict[str, Any]:
        """Lines of NAME=value as a mapping."""
        found: dict[str, Any] = {}
        for number, line in enumerate(self.cleaned_data["parameters"].splitlines(), start=1):
            if not line.strip():
                continue
            name, equals, value = line.partition("=")
            if not equals:
                raise forms.ValidationError(f"Line {number} has no =. Write NAME=value.")
            if name.strip() in found:
                raise forms.ValidationError(f"{name.strip()[:60]} is set twice.")
            found[name.strip()] = _value(value.strip())
        if problem := check_parameters(found):
            raise forms.ValidationError(problem)
        return found

    @property
    def run(self) -> NotebookRun:
        """What a valid form runs."""
        data = self.cleaned_data
        return NotebookRun(
            name=data["name"],
            pool=data["pool"],
            volume=data["volume"],
            notebook=data["notebook"],
            output_folder=data["output_folder"],
            parameters=data["parameters"],
            gpus=data["gpus"],
            environment=data["environment"],
            time_limit_seconds=self.seconds,
            project=data["project"],
            max_cost_micros=self.max_cost_micros,
        )

    @property
    def request(self) -> ScheduleRequest:
        """What a valid form asks for."""
        data = self.cleaned_data
        return ScheduleRequest(
            run=self.run,
            cron=data["cron"],
            timezone=data["timezone"],
            skips_while_running=data["skips_while_running"],
            catches_up=data["catches_up"],
        )


def lines_of(parameters: Mapping[str, Any]) -> str:
    """Parameters as the form takes them: what it reads of these lines is the same again."""
    return "".join(f"{name}={_text(value)}\n" for name, value in parameters.items())


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _text(value: Any) -> str:
    is_plain = isinstance(value, str) and value == value.strip() and len(value.splitlines()) == 1
    if is_plain and _value(value) == value:
        return str(value)
    return json.dumps(value, ensure_ascii=True)
