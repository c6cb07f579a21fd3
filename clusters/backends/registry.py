"""Which backend drives a pool."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from clusters.backends.base import Backend, LocalSettings


def local_settings() -> LocalSettings:
    """The local backend's part of the portal's settings."""
    return LocalSettings(
        root=settings.LOCAL_ROOT,
        environments=settings.ENVIRONMENTS_DIR,
        virtual_gpus=settings.LOCAL_VIRTUAL_GPUS,
        allow_insecure=settings.LOCAL_ALLOW_INSECURE,
        uid_base=settings.LOCAL_UID_BASE,
    )


@cache
def backend(kind: str) -> Backend:
    """The engine of this kind, made once per process by the factory named in `BACKENDS`."""
    factory = import_string(settings.BACKENDS[kind])
    made: Backend = factory()
    return made


def make_local() -> Backend:
    """This machine."""
    from clusters.backends.local.backend import LocalBackend

    return LocalBackend(local_settings())
