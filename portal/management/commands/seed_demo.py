"""`manage.py seed_demo`: what a first start needs to be of use. Safe to repeat.

A price book, one pool on this machine, a demo team with credit, a member of staff; writes
`VAR_DIR/demo.json` (mode 0600) with how to get in.
"""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction

from accounts.access import actor_of_user
from accounts.actions.teams import create_api_key, ensure_team
from accounts.actor import Actor
from accounts.models import User
from billing.actions.accounts import ensure_account
from billing.actions.credit import grant_credit
from billing.choices import Meter
from billing.models import Price, PriceBook, Sku
from billing.models.catalogue import HOURS_PER_MONTH
from clusters.actions.pools import refresh_inventory
from clusters.backends.registry import backend
from clusters.models import Pool
from portal.lib.money import MICROS

OWNER = "owner@demo.localhost"
STAFF = "staff@demo.localhost"
DEMO_CREDIT_MICROS = 50 * MICROS
A100_MICROS_PER_HOUR = 2_100_000  # the operator's own price; about what the market asks in 2026
STORAGE_MICROS_PER_MONTH = 70_000  # a GiB, as network storage is commonly sold
SKU = "a100-local"


class Command(BaseCommand):
    """Seeds the demo."""

    help = __doc__

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Make what is missing."""
        target: Path = settings.VAR_DIR / "demo.json"
        known = json.loads(target.read_text()) if target.is_file() else {}
        with transaction.atomic():
            pool = seed_pool()
            seed_prices(pool)
            facts = _people(known)
        facts = {"url": settings.SITE_URL, **facts}
        if facts != known:
            _write(target, facts)


def seed_prices(pool: Pool) -> None:
    """The default book with the price of one A100 of this machine and of a GiB kept a month."""
    book, _ = PriceBook.objects.get_or_create(
        name="List", defaults={"is_default": True, "currency": settings.CURRENCY}
    )
    # What is virtual is called so wherever it is sold too.
    sku, _ = Sku.objects.update_or_create(
        code=SKU, defaults={"label": f"{pool.name}, this machine", "unit": "GPU-hour"}
    )
    storage, _ = Sku.objects.get_or_create(
        code=settings.STORAGE_SKU,
        defaults={"label": "Storage", "meter": Meter.STORAGE, "unit": "GiB-month"},
    )
    for sold, micros, hours in (
        (sku, A100_MICROS_PER_HOUR, 1),
        (storage, STORAGE_MICROS_PER_MONTH, HOURS_PER_MONTH),
    ):
        if not Price.objects.filter(book=book, sku=sold).exists():
            Price.objects.create(
                book=book,
                sku=sold,
                unit_micros=micros,
                unit_hours=hours,
                valid_during=(datetime(2020, 1, 1, tzinfo=UTC), None),
            )


def seed_pool() -> Pool:
    """The pool of this machine, with the GPUs the backend reports now."""
    engine = backend("local")
    nodes = engine.inventory({})
    gpus = [gpu for node in nodes for gpu in node.gpus]
    is_virtual = all(gpu.is_virtual for gpu in gpus)
    cores = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    pool, _ = Pool.objects.get_or_create(
        slug="a100",
        defaults={
            "name": "A100 (virtual)" if is_virtual else "A100",
            "backend": "local",
            "sku_code": SKU,
            "gpu_model": gpus[0].model if gpus else "none",
            "is_virtual": is_virtual,
            "max_gpus_per_workload": max(1, len(gpus)),
            # Real GPUs share the machine; virtual ones are shares of it and may overlap on CPU.
            "cpu_cores_per_gpu": max(1.0, cores / max(1, len(gpus))),
            "memory_bytes_per_gpu": memory * 3 // 4 // max(1, len(gpus)),
            "environments": ["python-data", "pytorch", "tensorflow", "system"],
        },
    )
    refresh_inventory(pool, nodes, engine.health({}))
    return pool


def _people(known: dict[str, str]) -> dict[str, str]:
    owner, owner_password = _person(OWNER, known.get("owner_password"))
    staff, staff_password = _person(STAFF, known.get("staff_password"), is_staff=True)
    team = ensure_team(owner)
    account = ensure_account(team)
    grant_credit(
        Actor.system("demo credit"),
        account,
        amount_micros=DEMO_CREDIT_MICROS,
        reason="Test credit of the demo",
        idempotency_key=f"demo-credit:{team.public_id}",
    )
    key = known.get("owner_api_key")
    if not key or not owner.api_keys.filter(revoked_at__isnull=True).exists():
        _, key = create_api_key(actor_of_user(owner), name="Demo")
    return {
        "owner_email": owner.email,
        "owner_password": owner_password,
        "owner_api_key": key,
        "staff_email": staff.email,
        "staff_password": staff_password,
    }


def _person(email: str, password: str | None, *, is_staff: bool = False) -> tuple[User, str]:
    user = User.objects.filter(email=email).first()
    if user is None or password is None:
        password = secrets.token_urlsafe(12)
        user = user or User(email=email, name="Demo staff" if is_staff else "Demo owner")
        user.is_staff = user.is_superuser = is_staff
        user.set_password(password)
        user.save()
        EmailAddress.objects.update_or_create(
            user=user, email=email, defaults={"verified": True, "primary": True}
        )
    return user, password


def _write(target: Path, facts: dict[str, str]) -> None:
    fresh = target.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(facts, stream, indent=2)
        stream.write("\n")
    fresh.replace(target)
