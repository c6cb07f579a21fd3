"""Django's entry to the project package: Celery, commands, template tags and system checks."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Wires the apps together."""

    name = "portal"

    def ready(self) -> None:
        """Make our Celery app the current one, and register the system checks."""
        from portal import celery, checks  # noqa: F401
