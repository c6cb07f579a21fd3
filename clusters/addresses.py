"""Addresses that leave the portal: in links people send each other, in what programs are told."""

from __future__ import annotations

from django.conf import settings
from django.urls import reverse

from clusters.actions.apps import name_of
from clusters.choices import Service
from clusters.models import Side, Workload


def open_path(workload: Workload, service: Service = Service.LAB) -> str:
    """Where a signed-in person is let into what `workload` serves."""
    return reverse("open_app", args=[name_of(service, workload.public_id)])


def open_address(workload: Workload, service: Service = Service.LAB) -> str:
    """The same, as it may be sent to somebody."""
    return settings.SITE_URL.rstrip("/") + open_path(workload, service)


def side_address(side: Side) -> str:
    """Where a signed-in member is let into a server beside the work."""
    name = name_of(Service(side.service), side.public_id)
    return settings.SITE_URL.rstrip("/") + reverse("open_app", args=[name])


def share_address(secret: str) -> str:
    """A link that lets a member of the team in."""
    return settings.SITE_URL.rstrip("/") + reverse("shared", args=[secret])
