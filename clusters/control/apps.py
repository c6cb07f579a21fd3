"""Routes follow attempts: one is opened when a server begins, closed when it ends."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef

from accounts.actor import Actor
from clusters.actions.apps import lose_server, open_route
from clusters.actions.stopping import request_stop
from clusters.backends.base import BackendUnavailable
from clusters.backends.capabilities import Serving
from clusters.backends.registry import backend
from clusters.choices import (
    AppState,
    AttemptState,
    Reason,
    Service,
    WorkloadKind,
    WorkloadStatus,
)
from clusters.models import App, Attempt
from portal.lib import clock
from portal.lib.errors import Conflict

logger = logging.getLogger(__name__)


def open_lab(attempt: Attempt) -> bool:
    """Open the route of a notebook's attempt that has begun; False where it cannot be yet."""
    engine = backend(attempt.workload.pool.backend)
    if attempt.workload.kind != WorkloadKind.NOTEBOOK or not isinstance(engine, Serving):
        return False
    try:
        endpoint = engine.endpoint(attempt.external_name, Service.LAB)
    except BackendUnavailable as error:
        logger.warning("where %s serves is not known yet: %s", attempt.external_name, error)
        return False
    if endpoint is None:
        return False
    open_route(attempt, Service.LAB, endpoint)
    return True


def follow_servers(pool_id: int) -> None:
    """Open the routes that are missing, and end what was started and never answers."""
    served = App.objects.filter(attempt=OuterRef("pk"), service=Service.LAB).exclude(
        state=AppState.CLOSED
    )
    running = Attempt.objects.filter(
        pool=pool_id,
        state=AttemptState.RUNNING,
        workload__kind=WorkloadKind.NOTEBOOK,
        workload__status=WorkloadStatus.RUNNING,
    ).select_related("workload__pool")
    for attempt in running.filter(~Exists(served)):
        open_lab(attempt)
    _follow_terminals(pool_id)
    late = clock.now() - timedelta(seconds=settings.SERVER_START_SECONDS)
    silent = running.filter(workload__reason=Reason.SERVER_STARTING, started_at__lte=late)
    for attempt in silent:
        _give_up(attempt)


def _follow_terminals(pool_id: int) -> None:
    """Forget where those listened that have ended: another's server may be there next."""
    terminals = App.objects.filter(service=Service.TERMINAL, attempt__pool=pool_id)
    for app in (
        terminals.exclude(state=AppState.CLOSED)
        .exclude(endpoint={})
        .select_related("attempt__pool")
    ):
        assert app.attempt is not None  # noqa: S101  # those of a pool have one
        engine = backend(app.attempt.pool.backend)
        try:
            is_gone = (
                isinstance(engine, Serving)
                and engine.endpoint(app.attempt.external_name, Service.TERMINAL) is None
            )
        except BackendUnavailable as error:
            logger.warning("where %s serves is not known now: %s", app.name, error)
            continue
        if is_gone:
            lose_server(app)


def _give_up(attempt: Attempt) -> None:
    try:
        request_stop(
            attempt.workload, Reason.SERVER_SILENT, actor=Actor.system("its server is silent")
        )
    except Conflict:
        logger.info("%s ended before it was given up", attempt.external_name)
