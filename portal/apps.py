"""Django's entry to the project package: its commands, template tags and system checks."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Wires the apps together."""

    name = "portal"

    def ready(self) -> None:
        """Register the system checks."""
        from portal import checks  # noqa: F401
