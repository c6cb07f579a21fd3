"""The form of a pool. It parses; whether a pool may be so is decided by the action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from clusters.actions.pool_checks import (
    MAX_NAME,
    OPTION_FIELD,
    PoolSettings,
    problem_of_option,
    problems_of_slug,
)
from clusters.admin.pool_values import LIMITS, limits_in, values_of
from clusters.queries.engines import EngineChoice
from portal.lib.errors import InvalidInput
from portal.lib.money import MICROS


def _text(label: str, help_text: str = "", **kwargs: Any) -> forms.CharField:
    return forms.CharField(
        label=label, help_text=help_text, widget=UnfoldAdminTextInputWidget(), **kwargs
    )


def _whole(label: str, help_text: str = "") -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        help_text=help_text,
        min_value=0,
        max_value=2**31 - 1,
        widget=UnfoldAdminIntegerFieldWidget(),
    )


def _decimal(label: str, help_text: str = "", *, places: int = 3) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        help_text=help_text,
        min_value=0,
        max_digits=12,
        decimal_places=places,
        widget=UnfoldAdminDecimalFieldWidget(),
    )


@dataclass(frozen=True, slots=True)
class OptionGroup:
    """The fields of one engine's options."""

    engine: EngineChoice
    fields: list[forms.BoundField]


class PoolForm(forms.Form):
    """A pool. Fields of the engines' options are `options.<engine>.<name>`."""

    name = _text("Name", "What people choose, such as A100 80 GB.", max_length=MAX_NAME)
    slug = _text(
        "Short name",
        "In the API, in commands and on the price list. It cannot be changed later.",
        max_length=40,
    )
    gpu_model = _text("GPU model", "Such as NVIDIA A100-SXM4-80GB.", max_length=MAX_NAME)
    price = _decimal(
        "Price per GPU and hour, in dollars",
        "What runs when it changes keeps the price it has. Raises are best announced: see Prices.",
        places=6,
    )
    backend = forms.ChoiceField(
        label="Engine",
        help_text="Engines are set up in the settings (BACKENDS).",
        widget=UnfoldAdminSelectWidget(attrs={"x-model": "engine"}),
    )
    environments = _text(
        "Environments", "Names with commas between. The first is the one used by default."
    )
    has_network = forms.BooleanField(
        label="Jobs reach the network", required=False, widget=UnfoldBooleanWidget()
    )
    max_gpus_per_workload = _whole("GPUs of one job, at most")
    max_nodes_per_workload = _whole(
        "Nodes of one job, at most", "More than 1 where the engine runs jobs on several nodes."
    )
    max_time_limit_seconds = _decimal("Time limit of one job, at most, in hours")
    grace_seconds = _whole("Grace in seconds", "Between SIGTERM and SIGKILL.")
    memory_bytes_per_gpu = _decimal("Memory per GPU, in GiB")
    cpu_cores_per_gpu = _decimal("CPU cores per GPU", places=2)
    pids = _whole("Processes of one job, at most")
    disk_bytes = _decimal("Disk of one job, in GiB")
    log_bytes = _decimal("Log of one job, in MiB")
    is_open = forms.BooleanField(
        label="Open it once its engine has answered",
        required=False,
        initial=True,
        widget=UnfoldBooleanWidget(),
    )
    reason = forms.CharField(
        label="Why it is changed",
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Goes into the audit trail with your name.",
    )

    def __init__(
        self,
        data: Any,
        *,
        engines: list[EngineChoice],
        settings: PoolSettings | None = None,
    ) -> None:
        """`settings` are those of the pool that is changed; None adds one."""
        self.engines = engines
        self.settings = settings
        super().__init__(data, initial=values_of(settings, engines))
        choice: Any = self.fields["backend"]
        choice.choices = [(engine.name, engine.label) for engine in engines]
        for name in ("slug", "is_open") if settings else ("reason",):
            del self.fields[name]
        for engine in engines:
            self._add_options(engine, settings)

    def _add_options(self, engine: EngineChoice, settings: PoolSettings | None) -> None:
        given: Mapping[str, str] = {}
        if settings is not None and settings.backend == engine.name:
            given = settings.options
        is_asked = not self.is_bound or self.data.get("backend") == engine.name
        for option in engine.options:
            self.fields[_field_of(engine.name, option.name)] = _text(
                option.label,
                option.help,
                required=option.is_required and not option.default and is_asked,
                initial=given.get(option.name, option.default),
            )

    def clean_slug(self) -> str:
        """A short name that may be, and is free."""
        slug = str(self.cleaned_data["slug"])
        if problem := problems_of_slug(slug).get("slug"):
            raise forms.ValidationError(problem)
        return slug

    def clean(self) -> None:
        """Options of the chosen engine, said together with what else is wrong."""
        for engine in self.engines:
            if engine.name != self.cleaned_data.get("backend"):
                continue
            for option in engine.options:
                field = _field_of(engine.name, option.name)
                problem = problem_of_option(option, self.cleaned_data.get(field, ""))
                if problem and field not in self.errors:
                    self.add_error(field, problem)

    def option_groups(self) -> list[OptionGroup]:
        """The options of each engine that has any, or a problem."""
        groups = []
        for engine in self.engines:
            fields = [self[_field_of(engine.name, option.name)] for option in engine.options]
            if fields or engine.problem:
                groups.append(OptionGroup(engine, fields))
        return groups

    def public_fields(self) -> list[forms.BoundField]:
        """What people see."""
        return self._bound("name", "slug", "gpu_model", "price")

    def place_fields(self) -> list[forms.BoundField]:
        """Where it runs."""
        return self._bound("backend", "environments", "has_network")

    def limit_fields(self) -> list[forms.BoundField]:
        """How much a job gets."""
        return self._bound(
            "max_gpus_per_workload", "max_nodes_per_workload", "max_time_limit_seconds",
            "memory_bytes_per_gpu", "cpu_cores_per_gpu", "disk_bytes", "pids", "log_bytes",
            "grace_seconds",
        )  # fmt: skip

    def last_fields(self) -> list[forms.BoundField]:
        """What is asked at the end."""
        return self._bound("is_open", "reason")

    def _bound(self, *names: str) -> list[forms.BoundField]:
        return [self[name] for name in names if name in self.fields]

    def clean_environments(self) -> tuple[str, ...]:
        """The names."""
        names = self.cleaned_data["environments"].split(",")
        return tuple(name.strip() for name in names if name.strip())

    @property
    def wanted(self) -> PoolSettings:
        """What a valid form asks for. A field that was not touched keeps its exact value."""
        data = self.cleaned_data
        chosen = next(engine for engine in self.engines if engine.name == data["backend"])
        wanted = PoolSettings(
            name=data["name"],
            backend=data["backend"],
            gpu_model=data["gpu_model"],
            micros_per_hour=int(data["price"] * MICROS),
            environments=data["environments"],
            options={
                option.name: data[_field_of(chosen.name, option.name)] for option in chosen.options
            },
            has_network=data["has_network"],
            **limits_in(data),
        )
        if self.settings is None:
            return wanted
        kept = {name: getattr(self.settings, name) for name in LIMITS - set(self.changed_data)}
        return replace(wanted, **kept)

    def refuse(self, error: InvalidInput) -> None:
        """Show what the action refused at the fields it names."""
        chosen = self.cleaned_data["backend"]
        for name, problem in error.fields.items():
            is_option = name.startswith(OPTION_FIELD)
            field = _field_of(chosen, name.removeprefix(OPTION_FIELD)) if is_option else name
            self.add_error(field if field in self.fields else None, problem)
        if not error.fields:
            self.add_error(None, error.message)


def _field_of(engine: str, option: str) -> str:
    return f"{OPTION_FIELD}{engine}.{option}"
