"""Pools as operators make and change them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from accounts.actions import audit
from accounts.actor import Actor
from billing.actions.prices import add_sku, set_list_price
from billing.models import Sku
from billing.queries.prices import list_prices
from clusters.actions.pool_checks import PoolSettings, problems_of, problems_of_slug
from clusters.actions.pools import refresh_inventory
from clusters.backends.base import BackendError
from clusters.backends.registry import backend_names
from clusters.choices import AttemptState
from clusters.models import Attempt, Gpu, Pool
from clusters.queries.engines import engine_named
from portal.lib import clock
from portal.lib.errors import Conflict, InvalidInput, Unavailable
from portal.lib.tasks import hint_on_commit


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved pool, and what its engine said when asked: what it has, or what is wrong."""

    pool: Pool
    nodes: int = 0
    gpus: int = 0
    problem: str = ""

    @property
    def words(self) -> str:
        """`4 nodes, 32 GPUs found.` and what is wrong, if anything."""
        nodes = f"{self.nodes} node{'' if self.nodes == 1 else 's'}"
        gpus = f"{self.gpus} GPU{'' if self.gpus == 1 else 's'}"
        found = f"{nodes}, {gpus} found." if self.nodes else ""
        return f"{found} {self.problem}".strip()


def add_pool(actor: Actor, slug: str, settings: PoolSettings, *, is_open: bool = True) -> Saved:
    """Make a pool with its SKU and list price, then ask its engine what it has.

    It opens, where `is_open`, once the engine has answered with GPUs; else it is kept closed.
    Raises InvalidInput naming every field that is wrong; then nothing is made.
    """
    problems = problems_of_slug(slug) | problems_of(settings)
    if problems:
        raise InvalidInput(next(iter(problems.values())), fields=problems)
    try:
        pool = _add(actor, slug, settings)
    except IntegrityError as error:
        raise InvalidInput.of(slug=f"There is a pool {slug} already.") from error
    return _ask(pool, opens=is_open)


def change_pool(actor: Actor, pool: Pool, settings: PoolSettings) -> Saved:
    """Change a pool, its list price from now on, then ask its engine what it has.

    Runs that have begun keep their price and limits. Raises InvalidInput naming the fields that
    are wrong.
    """
    problems = problems_of(settings)
    if problems:
        raise InvalidInput(next(iter(problems.values())), fields=problems)
    pool, opens = _change(actor, pool, settings)
    return _ask(pool, opens=opens)


def settings_of(pool: Pool) -> PoolSettings:
    """The settings `pool` has now, with the list price of this moment."""
    columns = _facts_of(pool) | {"environments": tuple(pool.environments)}
    price = list_prices(at=clock.now()).get(pool.sku_code, 0)
    return PoolSettings(micros_per_hour=price, **columns)


@transaction.atomic
def _add(actor: Actor, slug: str, settings: PoolSettings) -> Pool:
    pool = Pool.objects.create(slug=slug, sku_code=slug, is_open=False, **settings.columns())
    try:
        add_sku(actor, slug, label=pool.name, unit_micros=settings.micros_per_hour)
    except Conflict as error:
        raise InvalidInput.of(slug=error.message) from error
    audit.record(
        actor, "pool.added", team=None, object_id=pool.public_id, slug=slug, **_facts_of(pool)
    )
    return pool


@transaction.atomic
def _change(actor: Actor, pool: Pool, settings: PoolSettings) -> tuple[Pool, bool]:
    """The pool as changed, and whether it shall be open once its engine has answered."""
    pool = Pool.objects.select_for_update(no_key=True).get(pk=pool.pk)
    before, opens = _facts_of(pool), pool.is_open
    if settings.backend != pool.backend:
        _refuse_if_used(pool)
    for column, value in settings.columns().items():
        setattr(pool, column, value)
    after = _facts_of(pool)
    changed = {name: [before[name], after[name]] for name in after if before[name] != after[name]}
    if {"backend", "options"} & changed.keys():
        pool.is_open = False
    pool.save(update_fields=[*after, "is_open"])
    Sku.objects.filter(code=pool.sku_code).update(label=pool.name)
    try:
        set_list_price(
            actor,
            pool.sku_code,
            unit_micros=settings.micros_per_hour,
            reason=actor.reason,
        )
    except InvalidInput as error:
        raise InvalidInput.of(price=error.message) from error
    if changed:
        audit.record(actor, "pool.changed", team=None, object_id=pool.public_id, **changed)
    return pool, opens


def _facts_of(pool: Pool) -> dict[str, Any]:
    return {
        name: getattr(pool, name)
        for name in PoolSettings.__dataclass_fields__
        if name != "micros_per_hour"
    }


def _refuse_if_used(pool: Pool) -> None:
    """An engine cannot be changed under work: it would be looked for where it is not."""
    live = Attempt.objects.filter(pool=pool).exclude(state=AttemptState.ENDED).exists()
    if pool.is_open or live:
        raise InvalidInput.of(
            backend="Close the pool and let its runs end first: they are on the engine it has."
        )


def _ask(pool: Pool, *, opens: bool) -> Saved:
    """What the engine has for `pool`, recorded; outside any transaction, for it may take long."""
    label = backend_names().get(pool.backend, pool.backend)
    try:
        engine = engine_named(pool.backend)
        nodes = engine.inventory(pool.options)
        health = engine.health(pool.options)
    except (BackendError, Unavailable) as error:
        closed = "" if pool.is_open else " The pool is closed until you open it."
        return Saved(pool, problem=f"{label} does not answer: {str(error).rstrip('.')}.{closed}")
    refresh_inventory(pool, nodes, health)
    reported = [gpu for node in nodes for gpu in node.gpus]
    count = Gpu.objects.filter(node__pool=pool, is_present=True).count()
    problems = [] if health.may_start else [f"It starts nothing yet: {health.detail}"]
    if count < len(reported):
        problems.insert(0, f"{len(reported) - count} more are in another open pool.")
    if not count:
        opens = False
        problems.insert(0, f"{label} has no GPUs for it, so it is closed.")
    with transaction.atomic():
        is_virtual = bool(reported) and all(gpu.is_virtual for gpu in reported)
        Pool.objects.filter(pk=pool.pk).update(is_open=opens, is_virtual=is_virtual)
        hint_on_commit("clusters.tasks.drive_pool", pool.pk)
    pool.refresh_from_db()
    return Saved(pool, len(nodes), count, " ".join(problems))
