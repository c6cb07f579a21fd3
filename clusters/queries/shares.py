"""The links by which a notebook is shared, as its person sees them."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Prefetch

from clusters.models import NotebookGuest, NotebookShare, Workload


def shares_of(notebook: Workload) -> Iterable[NotebookShare]:
    """The links that hold, newest first, each with whom it let in; two queries."""
    guests = NotebookGuest.objects.select_related("user").order_by("pk")
    return (
        NotebookShare.objects.filter(notebook=notebook.pk, revoked_at__isnull=True)
        .select_related("created_by")
        .prefetch_related(Prefetch("guests", guests))
        .order_by("-pk")
    )
