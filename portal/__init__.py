"""The project: wires accounts, billing and clusters together."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
