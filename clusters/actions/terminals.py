"""Terminals in work that runs: a shell beside its command, as what runs there and no more."""

from __future__ import annotations

from django.db import transaction

from accounts.actions import audit
from accounts.actor import Actor
from clusters.access import may_open, workloads_of
from clusters.actions.apps import open_route
from clusters.actions.locks import lock_workload
from clusters.backends.base import BackendError, BackendUnavailable, Endpoint
from clusters.backends.capabilities import Terminals
from clusters.backends.registry import backend
from clusters.choices import AttemptState, Service
from clusters.models import App, Attempt, Workload
from portal.lib.errors import Conflict, NotAllowed, NotFound, Unavailable


def open_terminal(actor: Actor, run_id: str) -> App:
    """Have a terminal in a run's attempt served; opened before, it is the same. Safe to repeat.

    Raises NotFound, NotAllowed, Conflict where there is none to be had, Unavailable.
    """
    workload = _permitted(actor, run_id)
    endpoint = _ask(_running(workload))
    with transaction.atomic():
        app = _route(workload, endpoint)
        audit.record(actor, "terminal.opened", team=workload.team, object_id=workload.public_id)
    return app


def wake_terminal(actor: Actor, run_id: str) -> None:
    """Start again what serves a terminal that was opened: it ends when nobody looks at it.

    It may listen elsewhere then. Raises NotFound, NotAllowed, Conflict where there is none to be
    had, Unavailable.
    """
    workload = _permitted(actor, run_id)
    endpoint = _ask(_running(workload))
    with transaction.atomic():
        _route(workload, endpoint)


def _route(workload: Workload, endpoint: Endpoint) -> App:
    lock_workload(workload.pk)
    # It may have ended while its engine was asked, and its routes have been closed by that.
    return open_route(_running(workload), Service.TERMINAL, endpoint)


def _permitted(actor: Actor, run_id: str) -> Workload:
    """The run, if the actor may open a terminal in it."""
    found = workloads_of(actor).filter(public_id=run_id.replace("\0", "")[:60])
    workload = found.filter(notebook__removed_at__isnull=True).first()
    if workload is None:
        raise NotFound("There is no such run.")
    if not may_open(actor, workload, Service.TERMINAL):
        raise NotAllowed(
            "A terminal is only for the person who launched it and for owners of the team."
        )
    return workload


def _running(workload: Workload) -> Attempt:
    running = Attempt.objects.filter(workload=workload, state=AttemptState.RUNNING)
    attempt = running.select_related("pool", "workload").order_by("-number").first()
    if attempt is None:
        raise Conflict("It does not run now, and only what runs has a terminal.")
    return attempt


def _ask(attempt: Attempt) -> Endpoint:
    """Have its engine start the terminal's server; where that listens. No transaction is open."""
    try:
        engine = backend(attempt.pool.backend)
        if not isinstance(engine, Terminals):
            raise Conflict(
                f"The machines of {attempt.pool.name} give no terminals. A notebook's JupyterLab "
                "has one of its own; launch a job in another pool to look into it while it runs."
            )
        engine.open_terminal(attempt.external_name)
        endpoint = engine.endpoint(attempt.external_name, Service.TERMINAL)
    except BackendUnavailable as error:
        raise Unavailable("Its machine does not answer just now. Try again shortly.") from error
    except BackendError as error:
        raise Conflict(str(error)) from error
    if endpoint is None:
        raise Conflict("It has just ended, and only what runs has a terminal.")
    return endpoint
