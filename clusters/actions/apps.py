"""What workloads serve: routes for the proxy, and who is let in."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from accounts.access import digest_of
from accounts.actions import audit
from accounts.actor import Actor
from clusters.access import may_open, workloads_of
from clusters.actions.set_status import mark_serving, tell_again
from clusters.backends.base import Endpoint
from clusters.choices import AppState, Service, WorkloadStatus
from clusters.models import App, AppSession, AppTicket, Attempt, Side, Workload
from portal.lib import clock, ids
from portal.lib.errors import Conflict, InvalidInput, NotAllowed, NotFound

# Below the proxy's own prefix, see clusters.proxy.
ENTER = "/.fastgpu/enter"
_PATH = re.compile(r"/(?!/)[^\\\x00-\x20\x7f]{0,2000}")
_SHORT = {Service.LAB: "", Service.TERMINAL: "term-", Service.TENSORBOARD: "tb-"}
TOKEN_DAYS = 30


def name_of(service: Service, public_id: str) -> str:
    """The name it is served under: one label of a host name."""
    return _SHORT[service] + public_id.replace("_", "-")


def subject_of(name: str) -> tuple[Service, str]:
    """What a name serves, and the public id of what it is of: `name_of` the other way round."""
    for service, short in _SHORT.items():
        if short and name.startswith(short):
            return service, _id_in(name.removeprefix(short))
    return Service.LAB, _id_in(name)


def _id_in(name: str) -> str:
    return name[:63].replace("\0", "").replace("-", "_", 1)


def url_of(name: str) -> str:
    """Its origin as browsers know it."""
    return settings.APPS_URL.format(name=name).rstrip("/")


def open_route(attempt: Attempt, service: Service, endpoint: Endpoint) -> App:
    """Let the proxy serve `service` of a running attempt from `endpoint`. Safe to repeat.

    A route of an earlier attempt is closed: one name leads to one server.
    """
    name = name_of(service, attempt.workload.public_id)
    with transaction.atomic():
        app = App.objects.select_for_update().filter(name=name).exclude(state=AppState.CLOSED)
        known = app.first()
        if known is not None and known.attempt_id == attempt.pk:
            if known.endpoint != asdict(endpoint):
                known.endpoint, known.failure = asdict(endpoint), ""
                known.state = AppState.STARTING
                known.save(update_fields=["endpoint", "state", "failure"])
            return known
        if known is not None:
            _close(App.objects.filter(pk=known.pk))
        return App.objects.create(
            name=name,
            service=service,
            workload_id=attempt.workload_id,
            attempt=attempt,
            endpoint=asdict(endpoint),
        )


def close_routes(attempt: Attempt) -> None:
    """Serve nothing of an attempt any more; runs in the caller's transaction."""
    _close(App.objects.filter(attempt=attempt))


def last_answer(attempt: Attempt) -> str:
    """What the server of an attempt did instead of answering, as a sentence; "" if not known."""
    app = App.objects.filter(attempt=attempt, service=Service.LAB).order_by("-pk").first()
    return f"It {app.failure}." if app and app.failure else ""


def lose_server(app: App) -> None:
    """Nobody listens there any more; the route stays, and leads nowhere until somebody does."""
    found = App.objects.filter(pk=app.pk, endpoint=app.endpoint).exclude(state=AppState.CLOSED)
    found.update(endpoint={}, state=AppState.STARTING)


def close_side_routes(side: Side) -> None:
    """Serve nothing of a side any more; runs in the caller's transaction."""
    _close(App.objects.filter(side=side))


def _close(apps: QuerySet[App]) -> None:
    apps.exclude(state=AppState.CLOSED).update(state=AppState.CLOSED, closed_at=clock.now())


@transaction.atomic
def note_ready(app_id: int) -> None:
    """The server answers: the proxy says so. Safe to repeat; too late, it changes nothing."""
    changed = App.objects.filter(pk=app_id, state=AppState.STARTING).update(
        state=AppState.READY, ready_at=clock.now(), failure=""
    )
    app = App.objects.select_related("workload", "attempt").filter(pk=app_id).first()
    if changed and app and app.workload and app.attempt and app.service == Service.LAB:
        mark_serving(app.workload, attempt_number=app.attempt.number)


@transaction.atomic
def note_failure(app_id: int, words: str) -> None:
    """What a starting server answers instead of what it should, for people. Safe to repeat.

    Of one that is being stopped nothing is noted: that it is going says not why it never answered.
    """
    words = words[:300]
    starting = App.objects.filter(pk=app_id, state=AppState.STARTING).exclude(failure=words)
    if not starting.exclude(workload__status=WorkloadStatus.STOPPING).update(failure=words):
        return
    workload = Workload.objects.filter(apps=app_id).first()
    if workload is not None:
        tell_again(workload.pk, workload.status, workload.reason)


def open_url(actor: Actor, name: str, *, session_key: str, path: str = "") -> str:
    """An address that lets this browser into what is served as `name`, once, within moments.

    Raises NotFound for what is not served or is another team's, NotAllowed where its person has
    let the actor not in, InvalidInput for a path that leads elsewhere.
    """
    app = _visible(actor, name)
    path = path or "/"
    if not _PATH.fullmatch(path):
        raise InvalidInput("This address leads nowhere in the notebook.")
    assert actor.user is not None  # noqa: S101  # who may open is a person
    secret = ids.new_secret("fgt")
    AppTicket.objects.create(
        digest=digest_of(secret),
        name=app.name,
        user=actor.user,
        session_key=session_key,
        expires_at=clock.now() + timedelta(seconds=settings.APP_TICKET_SECONDS),
    )
    return f"{url_of(app.name)}{ENTER}?{urlencode({'ticket': secret, 'next': path})}"


@dataclass(frozen=True, slots=True)
class Grant:
    """What lets a program in: the origin and a token, good until `expires_at`."""

    url: str
    token: str
    expires_at: datetime


@transaction.atomic
def grant_token(actor: Actor, workload: Workload) -> Grant:
    """Let programs speak to a notebook's server as the actor; the token is shown this once.

    Raises NotAllowed, Conflict while it does not run.
    """
    if not may_open(actor, workload, Service.LAB):
        raise NotAllowed("This notebook is another member's. They can share it with you.")
    assert actor.user is not None  # noqa: S101  # who may open is a person
    name = name_of(Service.LAB, workload.public_id)
    if not App.objects.filter(name=name).exclude(state=AppState.CLOSED).exists():
        raise Conflict("The notebook is not running. Start it first.")
    secret = ids.new_secret("fgn")
    session = AppSession.objects.create(
        digest=digest_of(secret),
        name=name,
        user=actor.user,
        expires_at=clock.now() + timedelta(days=TOKEN_DAYS),
    )
    audit.record(actor, "notebook.token_made", team=workload.team, object_id=workload.public_id)
    return Grant(url_of(name), secret, session.expires_at)


def end_sessions(actor: Actor, workload: Workload) -> int:
    """Sign the actor out of all a workload serves, tokens included; returns how many ended."""
    names = [name_of(service, workload.public_id) for service in Service]
    return AppSession.objects.filter(name__in=names, user=actor.user, ended_at__isnull=True).update(
        ended_at=clock.now()
    )


def forget_old() -> int:
    """Delete tickets and sessions that let nobody in any more; returns how many."""
    past = clock.now() - timedelta(days=1)
    tickets, _ = AppTicket.objects.filter(expires_at__lt=past).delete()
    sessions, _ = AppSession.objects.filter(expires_at__lt=past).delete()
    return tickets + sessions


def _visible(actor: Actor, name: str) -> App:
    """The open app of this name that the actor may open. Raises NotFound, NotAllowed."""
    found = App.objects.select_related("workload", "side").exclude(state=AppState.CLOSED)
    app = found.filter(name=name.replace("\0", "")[:63]).first()
    if app is None:
        raise NotFound("Nothing of this name is running.")
    if app.side is not None:
        if actor.team is None or app.side.team_id != actor.team.pk:
            raise NotFound("Nothing of this name is running.")
        return app
    workload = workloads_of(actor).filter(apps=app).first()
    if workload is None:
        raise NotFound("Nothing of this name is running.")
    if not may_open(actor, workload, Service(app.service)):
        raise NotAllowed("This is another member's. They can share it with you.")
    return app
