"""Forms of clusters. They parse; whether a launch may be is decided by the action."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django import forms

from clusters.actions.launch_checks import JobRequest
from clusters.actions.request_checks import MAX_NAME, MAX_PROJECT, MAX_RETRIES
from clusters.models import Pool, Volume
from portal.lib.errors import InvalidInput
from portal.lib.money import MICROS

MAX_HOURS = 100_000
_FORM_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")
# Names of the action's fields that a form splits or calls otherwise.
_FIELD_OF = {"time_limit_seconds": "hours", "lifetime_seconds": "hours", "idle_minutes": "idle"}


def new_form_key() -> str:
    """A name for one showing of the form."""
    return secrets.token_urlsafe(18)


class RefusedForm(forms.Form):
    """A form that shows what an action refuses."""

    def refuse(self, error: InvalidInput) -> None:
        """Show what the action refused at the fields it names."""
        for name, problem in error.fields.items():
            field = _FIELD_OF.get(name, name)
            self.add_error(field if field in self.fields else None, problem)
        if not error.fields:
            self.add_error(None, error.message)


class RunForm(RefusedForm):
    """What every launch asks for; how long it may run in hours and minutes."""

    name = forms.CharField(
        max_length=MAX_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "train-01"}),
        error_messages={"required": "Give it a name."},
    )
    pool = forms.ChoiceField(
        widget=forms.RadioSelect,
        error_messages={
            "required": "Choose a pool.",
            "invalid_choice": "There is no such pool. Choose one of the list.",
        },
    )
    gpus = forms.IntegerField(
        label="GPUs",
        min_value=1,
        max_value=10_000,
        initial=1,
        error_messages={
            "required": "Say how many GPUs.",
            "invalid": "Write a whole number, such as 1.",
            "min_value": "Ask for at least 1 GPU.",
        },
    )
    environment = forms.ChoiceField(
        required=False,
        error_messages={"invalid_choice": "There is no such environment. Choose one of the list."},
    )
    volume = forms.ChoiceField(
        required=False,
        help_text="Mounted at /workspace, on a cluster at $FASTGPU_WORKSPACE. It outlives the run.",
        error_messages={"invalid_choice": "There is no such volume. Choose one of the list."},
    )
    hours = forms.IntegerField(
        label="Time limit",
        required=False,
        min_value=0,
        max_value=MAX_HOURS,
        error_messages={"invalid": "Write whole hours.", "min_value": "Write 0 hours or more."},
    )
    minutes = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=MAX_HOURS * 60,
        error_messages={"invalid": "Write whole minutes.", "min_value": "Write 0 minutes or more."},
    )
    project = forms.CharField(
        required=False,
        max_length=MAX_PROJECT,
        help_text="A label of your own: spending can be split by it.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "vision"}),
    )
    max_cost = forms.DecimalField(
        label="Stop at a cost of",
        required=False,
        min_value=Decimal("0.01"),
        max_digits=10,
        decimal_places=2,
        help_text="It is asked to end when it has come to this, with time to save its work.",
        widget=forms.NumberInput(attrs={"inputmode": "decimal", "step": "0.01"}),
        error_messages={"invalid": "Write an amount in dollars, such as 25."},
    )
    # Named by the page, so that a form that is sent twice launches once.
    form_key = forms.CharField(required=False, widget=forms.HiddenInput, initial=new_form_key)

    def __init__(
        self, *args: Any, pools: list[Pool], volumes: Iterable[Volume], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        names = {name for pool in pools for name in self.environments_of(pool)}
        self._choose("pool", [(pool.slug, pool.name) for pool in pools])
        self._choose("environment", [(name, name) for name in sorted(names)])
        kept = [(one.public_id, f"{one.name} ({one.size_gib} GiB)") for one in volumes]
        self._choose("volume", [("", "None"), *kept])

    @staticmethod
    def environments_of(pool: Pool) -> list[str]:
        """Those of the pool that can be chosen."""
        return pool.offered_environments

    def _choose(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  # declared above
        field.choices = choices

    def clean_form_key(self) -> str:
        """The key where it is one of ours; nobody can mend a field that is not shown."""
        key = str(self.cleaned_data["form_key"])
        return key if _FORM_KEY.fullmatch(key) else ""

    @property
    def seconds(self) -> int:
        """How long it may run."""
        hours = self.cleaned_data.get("hours") or 0
        minutes = self.cleaned_data.get("minutes") or 0
        return int(hours * 3600 + minutes * 60)

    @property
    def max_cost_micros(self) -> int:
        """What it may come to; 0: no limit."""
        return int((self.cleaned_data["max_cost"] or 0) * MICROS)


class LaunchForm(RunForm):
    """A job as a person asks for it."""

    nodes = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=10_000,
        initial=1,
        help_text="The command runs once on each; they share the GPUs equally.",
        error_messages={
            "invalid": "Write a whole number, such as 1.",
            "min_value": "Ask for at least 1 node.",
        },
    )
    retries = forms.IntegerField(
        label="Retry on error",
        required=False,
        min_value=0,
        max_value=MAX_RETRIES,
        initial=0,
        help_text=(
            "How often it is run again when the command ends with an error. Lost machines and "
            "failed GPUs are retried always, and exit code 75 asks to be run again."
        ),
        error_messages={
            "invalid": "Write a whole number, such as 0.",
            "min_value": "Write 0 or more.",
            "max_value": f"At most {MAX_RETRIES} retries are taken.",
        },
    )
    command = forms.CharField(
        strip=False,
        help_text="Run by bash in an empty home folder. What it leaves there is yours to download.",
        widget=forms.Textarea(
            attrs={
                "rows": 10,
                "class": "mono",
                "spellcheck": "false",
                "autocapitalize": "off",
                "placeholder": "python train.py",
                "wrap": "off",
            }
        ),
        error_messages={"required": "Say what to run, for example: python train.py"},
    )
    env = forms.CharField(
        label="Environment variables",
        required=False,
        strip=False,
        help_text="One NAME=value a line.",
        widget=forms.Textarea(
            attrs={
                "rows": 3,
                "class": "mono",
                "spellcheck": "false",
                "autocapitalize": "off",
                "placeholder": "SEED=1",
            }
        ),
    )

    def clean_env(self) -> dict[str, str]:
        """Lines of NAME=value as a mapping."""
        env: dict[str, str] = {}
        for number, line in enumerate(self.cleaned_data["env"].splitlines(), start=1):
            if not line.strip():
                continue
            name, equals, value = line.partition("=")
            if not equals:
                raise forms.ValidationError(f"Line {number} has no =. Write NAME=value.")
            if name.strip() in env:
                raise forms.ValidationError(f"{name.strip()[:60]} is set twice.")
            env[name.strip()] = value
        return env

    def clean_command(self) -> str:
        """Browsers send CRLF; bash wants LF."""
        return str(self.cleaned_data["command"]).replace("\r\n", "\n")

    @property
    def request(self) -> JobRequest:
        """What a valid form asks for."""
        data = self.cleaned_data
        return JobRequest(
            name=data["name"],
            pool=data["pool"],
            gpus=data["gpus"],
            nodes=data["nodes"] or 1,
            retries=data["retries"] or 0,
            environment=data["environment"],
            volume=data["volume"],
            command=data["command"],
            env=data["env"],
            time_limit_seconds=self.seconds,
            project=data["project"],
            max_cost_micros=self.max_cost_micros,
        )
