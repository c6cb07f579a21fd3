"""People, teams and pools of the suite: fixed, no chance in them.

alice owns a team and bob is its member; charlie owns another; dora is staff.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from accounts.access import actor_of_user
from accounts.actions.teams import create_api_key, create_team
from accounts.actor import Actor
from accounts.choices import Role
from accounts.models import Membership, Team, User
from billing.actions.accounts import ensure_account
from billing.actions.credit import grant_credit
from billing.models import BillingAccount, Price, PriceBook, Sku
from clusters.backends.registry import backend
from clusters.models import Pool
from portal.lib.money import MICROS
from tests.fakes.backend import FakeBackend
from tests.fakes.pool import make_pool
from tests.fakes.serving import ServingBackend

# Passwords cost half a second each as they should; the thousands of people of this suite have cheap
# ones, except where whole processes of the portal sign them in.
settings.PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    *settings.PASSWORD_HASHERS,
]
PASSWORD = "correct horse battery"
MICROS_PER_HOUR = 2_100_000


def make_person(email: str, *, is_staff: bool = False) -> User:
    """A person with a verified address."""
    user = User.objects.create_user(email, PASSWORD, is_staff=is_staff, is_superuser=is_staff)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


@pytest.fixture
def prices(db: None) -> Price:
    """The default book with one SKU at $2.10 an hour."""
    book = PriceBook.objects.create(name="List", is_default=True, currency="usd")
    sku = Sku.objects.create(code="a100-test", label="A100")
    return Price.objects.create(
        book=book,
        sku=sku,
        unit_micros=MICROS_PER_HOUR,
        valid_during=(datetime(2020, 1, 1, tzinfo=UTC), None),
    )


@pytest.fixture
def alice(prices: Price) -> User:
    """Owner of the team."""
    return make_person("alice@example.org")


@pytest.fixture
def team(alice: User) -> Team:
    """Alice's team, with $50 of credit."""
    team = create_team(owner=alice, name="Alice's team")
    fund(team, 50 * MICROS)
    return team


@pytest.fixture
def bob(team: Team) -> User:
    """Member of alice's team."""
    user = make_person("bob@example.org")
    Membership.objects.create(team=team, user=user, role=Role.MEMBER)
    return user


@pytest.fixture
def charlie(prices: Price) -> User:
    """Owner of another team, with $50 of credit."""
    user = make_person("charlie@example.org")
    fund(create_team(owner=user, name="Charlie's team"), 50 * MICROS)
    return user


@pytest.fixture
def dora(prices: Price) -> User:
    """Staff."""
    return make_person("dora@example.org", is_staff=True)


@pytest.fixture
def account(team: Team) -> BillingAccount:
    """The billing account of alice's team."""
    return ensure_account(team)


@pytest.fixture
def actor(alice: User, team: Team) -> Actor:
    """Alice in her team."""
    return actor_of_user(alice)


@pytest.fixture
def member(bob: User) -> Actor:
    """Bob in alice's team."""
    return actor_of_user(bob)


def fund(team: Team, micros: int) -> None:
    """Give `team` promotional credit."""
    grant_credit(
        Actor.system("tests"),
        ensure_account(team),
        amount_micros=micros,
        reason="tests",
        idempotency_key=f"tests:{team.pk}:{micros}",
    )


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    """A browser signed in as somebody."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def api_of() -> Callable[[User], APIClient]:
    """An API client with a key of somebody in their first team."""

    def with_key(user: User) -> APIClient:
        _, secret = create_api_key(actor_of_user(user), name="tests")
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return with_key


@pytest.fixture
def api(alice: User, team: Team, api_of: Callable[[User], APIClient]) -> APIClient:
    """Alice's API client."""
    return api_of(alice)


@dataclass
class Engine:
    """A fake engine and the pool it drives."""

    backend: FakeBackend
    pool: Pool


@pytest.fixture
def engine_class() -> type[FakeBackend]:
    """The engine that `engine` uses; a test of another one overrides it by parametrising."""
    return ServingBackend


@pytest.fixture
def engine(engine_class: type[FakeBackend], prices: Price, settings: Any) -> Iterator[Engine]:
    """A pool of four GPUs on an engine that does what the test says."""
    settings.BACKENDS = {"local": {"factory": "tests.fakes.backend.the_fake", "label": "Fake"}}
    backend.cache_clear()
    fake = engine_class.reset()
    yield Engine(fake, make_pool(fake))
    backend.cache_clear()


@pytest.fixture
def pool(engine: Engine) -> Pool:
    """The engine's pool."""
    return engine.pool


@pytest.fixture(autouse=True)
def _clean_cache() -> Iterator[None]:
    yield
    cache.clear()


_GUARDS = """
DO $$ DECLARE the_table regclass; BEGIN
    FOR the_table IN SELECT DISTINCT tgrelid::regclass FROM pg_trigger
        WHERE NOT tgisinternal AND tgtype & 32 <> 0  -- guards against TRUNCATE
    LOOP EXECUTE format('ALTER TABLE %s {} TRIGGER USER', the_table); END LOOP;
END $$
"""


@pytest.fixture(autouse=True, scope="session")
def _tables_can_be_emptied() -> Iterator[None]:
    """Between transactional tests tables are truncated, which the ledger's triggers refuse."""
    flush = connection.ops.sql_flush

    def unguarded(*args: Any, **kwargs: Any) -> list[str]:
        statements = flush(*args, **kwargs)
        return [_GUARDS.format("DISABLE"), *statements, _GUARDS.format("ENABLE")]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection.ops, "sql_flush", unguarded)
        yield
