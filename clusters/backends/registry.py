"""Which backends there are, by name: `settings.BACKENDS`."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from clusters.backends.base import Backend, BackendUnavailable
from clusters.backends.local.settings import LocalSettings


@cache
def backend(name: str) -> Backend:
    """The backend of this name, made once per process by its factory.

    Raises BackendUnavailable for a name the settings do not hold.
    """
    if name not in settings.BACKENDS:
        raise BackendUnavailable(f"The settings hold no engine {name!r}.")
    entry: dict[str, Any] = dict(settings.BACKENDS[name])
    entry.pop("label", None)
    factory = import_string(entry.pop("factory"))
    made: Backend = factory(**entry)
    return made


def backend_names() -> dict[str, str]:
    """Name -> what people call it."""
    return {name: str(entry.get("label", name)) for name, entry in settings.BACKENDS.items()}


def local_settings() -> LocalSettings:
    """The local backend's part of the portal's settings."""
    return LocalSettings(
        root=settings.LOCAL_ROOT.resolve(),
        environments=settings.ENVIRONMENTS_DIR,
        virtual_gpus=settings.LOCAL_VIRTUAL_GPUS,
        allow_insecure=settings.LOCAL_ALLOW_INSECURE,
        uid_base=settings.LOCAL_UID_BASE,
        oci_socket=settings.LOCAL_OCI_SOCKET,
    )


def make_local() -> Backend:
    """This machine."""
    from clusters.backends.local.backend import LocalBackend

    return LocalBackend(local_settings())
