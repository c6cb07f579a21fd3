"""What workloads serve to browsers: names, tickets, sessions. The proxy reads these tables.

The proxy is a process without Django. It asks the database, by `clusters_app_route` and
`clusters_app_access` (views, see the migration), what is served under which name and whose
sessions still hold, and is told of changes by a NOTIFY that the tables send.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from clusters.choices import AppState, Service
from portal.lib import clock, ids


def _side_id() -> str:
    return ids.new_id("side")


class Side(models.Model):
    """A small server beside the work, without GPUs: a TensorBoard over a run or a volume's folder.

    It runs in a sandbox of this machine's engine under `external_name`, reads and never writes, and
    ends when nobody has looked at it for a while.
    """

    public_id = models.CharField(max_length=40, unique=True, default=_side_id, editable=False)
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    service = models.CharField(max_length=12, choices=Service)
    workload = models.ForeignKey(
        "clusters.Workload", on_delete=models.PROTECT, null=True, related_name="sides"
    )
    volume = models.ForeignKey(
        "clusters.Volume", on_delete=models.PROTECT, null=True, related_name="sides"
    )
    folder = models.CharField(max_length=1000, blank=True, default="")
    external_name = models.CharField(max_length=80, unique=True)
    created_at = models.DateTimeField(default=clock.now, editable=False)
    used_at = models.DateTimeField(default=clock.now)
    ended_at = models.DateTimeField(null=True)
    detail = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(workload__isnull=False, volume__isnull=True)
                | Q(workload__isnull=True, volume__isnull=False),
                name="side_of_one_thing",
            ),
            models.UniqueConstraint(
                fields=["service", "workload", "volume", "folder"],
                condition=Q(ended_at__isnull=True),
                nulls_distinct=False,
                name="side_once",
            ),
        ]


class App(models.Model):
    """One server under the name `<name>.apps.<host>`: a route the proxy shall have.

    Of an attempt of a workload, or of a side. `endpoint` is where it listens as the proxy's machine
    reaches it (`clusters.backends.base.Endpoint`, as JSON); empty until the engine knows. The proxy
    asks the server until it answers, then the app is ready; `failure` says what it answers instead.
    """

    name = models.CharField(max_length=63)
    service = models.CharField(max_length=12, choices=Service)
    workload = models.ForeignKey(
        "clusters.Workload", on_delete=models.PROTECT, null=True, related_name="apps"
    )
    attempt = models.ForeignKey(
        "clusters.Attempt", on_delete=models.PROTECT, null=True, related_name="apps"
    )
    side = models.ForeignKey(Side, on_delete=models.PROTECT, null=True, related_name="apps")
    endpoint = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=AppState, default=AppState.STARTING)
    failure = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    ready_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=~Q(state="closed"), name="app_one_open"
            ),
            models.CheckConstraint(
                condition=Q(workload__isnull=False, attempt__isnull=False, side__isnull=True)
                | Q(workload__isnull=True, attempt__isnull=True, side__isnull=False),
                name="app_of_one_thing",
            ),
            models.CheckConstraint(
                condition=Q(state=AppState.CLOSED, closed_at__isnull=False)
                | (~Q(state=AppState.CLOSED) & Q(closed_at__isnull=True)),
                name="app_closed",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class AppTicket(models.Model):
    """Lets one browser in once: made by the portal, taken by the proxy, good for some seconds."""

    digest = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=63)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    session_key = models.CharField(max_length=40, blank=True, default="")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)


class AppSession(models.Model):
    """A person at one served name: a browser's cookie, or a token for programs.

    Only a digest of the secret is kept. It holds while its person may open the app, see the view;
    `session_key` is the sign-in at the portal it came from: gone, so is this. Programs have none.
    """

    digest = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=63)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    session_key = models.CharField(max_length=40, blank=True, default="")
    created_at = models.DateTimeField(default=clock.now, editable=False)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["name"], name="app_session_name")]
