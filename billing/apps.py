"""Django's entry to billing."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """The billing app."""

    name = "billing"
