"""What the proxy reads, made as the portal makes it: people, what they run, where it serves."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from accounts.access import digest_of
from accounts.actions.teams import create_team
from accounts.choices import Role
from accounts.models import Membership, Team, User
from billing.models import Price, PriceBook, Sku
from clusters.actions.apps import name_of
from clusters.backends.base import Endpoint
from clusters.choices import AttemptState, Reason, Service, WorkloadKind, WorkloadStatus
from clusters.models import App, AppSession, Attempt, Notebook, Pool, Side, Workload
from portal.lib import clock, ids

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Ground:
    """A team of alice, with bob in it, a pool, and charlie in a team of his own."""

    team: Team
    alice: User
    bob: User
    charlie: User
    pool: Pool
    price: Price


def make_ground() -> Ground:
    """Nobody in it has a password: they are here to be let in or not."""
    alice, bob, charlie = (
        User.objects.create(email=f"{name}@example.org") for name in ("alice", "bob", "charlie")
    )
    team = create_team(owner=alice, name="Alice's team")
    create_team(owner=charlie, name="Charlie's team")
    Membership.objects.create(team=team, user=bob, role=Role.MEMBER)
    book = PriceBook.objects.create(name="List", is_default=True, currency="usd")
    sku = Sku.objects.create(code="a100-test", label="A100")
    since = datetime(2020, 1, 1, tzinfo=UTC)
    price = Price.objects.create(book=book, sku=sku, unit_micros=1, valid_during=(since, None))
    pool = Pool.objects.create(
        slug="a100", name="A100", backend="local", sku_code=sku.code, gpu_model="A100"
    )
    return Ground(team, alice, bob, charlie, pool, price)


def serve(
    ground: Ground,
    endpoint: Endpoint | None,
    *,
    service: Service = Service.LAB,
    state: str = "ready",
    owner: User | None = None,
) -> App:
    """Something that runs and serves there; `owner` (alice) has launched it."""
    number = next(_numbers)
    workload = Workload.objects.create(
        public_id=ids.new_id("nb"),
        kind=WorkloadKind.NOTEBOOK,
        team=ground.team,
        created_by=owner or ground.alice,
        pool=ground.pool,
        price=ground.price,
        name=f"Notebook {number}",
        gpus=1,
        environment="python-data",
        command="true",
        time_limit_seconds=3600,
        status=WorkloadStatus.RUNNING,
        reason=Reason.RUNNING,
        started_at=clock.now(),
    )
    Notebook.objects.create(workload=workload, idle_minutes=60)
    attempt = Attempt.objects.create(
        workload=workload,
        number=1,
        external_name=f"fg-{workload.public_id}-1",
        state=AttemptState.RUNNING,
        pool=ground.pool,
    )
    where = asdict(endpoint) if endpoint else {}
    if service == Service.TENSORBOARD:
        side = Side.objects.create(
            team=ground.team,
            created_by=workload.created_by,
            service=service,
            workload=workload,
            external_name=f"fg-side-{number}",
        )
        name = name_of(service, side.public_id)
        return App.objects.create(
            name=name, service=service, side=side, endpoint=where, state=state
        )
    return App.objects.create(
        name=name_of(service, workload.public_id),
        service=service,
        workload=workload,
        attempt=attempt,
        endpoint=where,
        state=state,
    )


def sign_in(app: App, user: User, *, session_key: str = "", hours: float = 1) -> str:
    """The cookie's secret of a session of this person at this app."""
    secret = f"fgc_{secrets.token_urlsafe(32)}"
    _session(app, user, secret, session_key, hours)
    return secret


def give_token(app: App, user: User, *, hours: float = 1) -> str:
    """A token for this person's programs at this app."""
    secret = ids.new_secret("fgn")
    _session(app, user, secret, "", hours)
    return secret


def _session(app: App, user: User, secret: str, session_key: str, hours: float) -> None:
    AppSession.objects.create(
        digest=digest_of(secret),
        name=app.name,
        user=user,
        session_key=session_key,
        expires_at=clock.now() + timedelta(hours=hours),
    )
