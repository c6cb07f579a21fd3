"""The engines the settings hold, as the console asks for them."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from clusters.backends.base import Backend, BackendError, PoolOption
from clusters.backends.registry import backend, backend_names
from portal.lib.errors import Unavailable


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine a pool may be on; `problem` says why it cannot be used as it is set up."""

    name: str
    label: str
    options: tuple[PoolOption, ...]
    problem: str = ""


def engine_choices() -> list[EngineChoice]:
    """Every engine of the settings, in their order."""
    choices = []
    for name, label in backend_names().items():
        try:
            choices.append(EngineChoice(name, label, engine_named(name).pool_options))
        except Unavailable as error:
            choices.append(EngineChoice(name, label, (), error.message))
    return choices


def engine_named(name: str) -> Backend:
    """The engine, ready to be asked. Raises Unavailable where its settings make none."""
    try:
        return backend(name)
    except BackendError as error:
        raise Unavailable(str(error)) from error
    except (ImproperlyConfigured, ImportError, OSError, TypeError, ValueError) as bad:
        raise Unavailable(f"The settings of {name!r} cannot be used: {bad}") from bad
