"""Typed readers of environment variables; a secret may lie in the file `<NAME>_FILE` names."""

from __future__ import annotations

import os
from pathlib import Path


class BadSetting(ValueError):
    """An environment variable that cannot be understood; the message names it."""


def env_str(name: str, default: str = "") -> str:
    """Value of `name`, or of the file `<name>_FILE` names, else `default`."""
    file_name = os.environ.get(f"{name}_FILE")
    if file_name:
        return Path(file_name).read_text(encoding="utf-8").strip()
    return os.environ.get(name, default)


def env_bool(name: str, *, default: bool) -> bool:
    """True for 1/true/yes/on, False for 0/false/no/off; raises BadSetting for anything else."""
    value = env_str(name).lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise BadSetting(f"{name} must be true or false, not {value!r}")


def env_int(name: str, default: int) -> int:
    """Whole number in `name`; raises BadSetting when it is not one."""
    value = env_str(name)
    if not value:
        return default
    try:
        return int(value)
    except ValueError as error:
        raise BadSetting(f"{name} must be a whole number, not {value!r}") from error


def env_list(name: str, default: list[str]) -> list[str]:
    """Comma-separated words in `name`."""
    value = env_str(name)
    return [word.strip() for word in value.split(",") if word.strip()] if value else default


def env_path(name: str, default: Path) -> Path:
    """Absolute path in `name`."""
    return Path(env_str(name) or default).resolve()
