"""Volumes: create, resize, rename, remove. Their size is billed, from creation to removal."""

from __future__ import annotations

import re

from django.db import IntegrityError, transaction

from accounts.access import team_of
from accounts.actions import audit
from accounts.actor import Actor
from accounts.choices import ActorKind, Role
from accounts.models import Team
from billing.actions.accounts import ensure_account, lock_account
from billing.actions.budgets import check_caps
from billing.actions.metering import Resource
from billing.actions.storage import end_storage, set_storage
from billing.labels import CostLabels
from billing.models import BillingAccount
from billing.queries.funds import funds_of
from billing.queries.storage import month_micros
from clusters.access import pools_of, volume_for
from clusters.actions.trees import keeper
from clusters.choices import AT_REST
from clusters.models import Pool, Volume, Workload
from clusters.models.volume import MAX_GIB
from portal.lib import clock
from portal.lib.errors import Conflict, InsufficientFunds, InvalidInput, NotAllowed, NotFound
from portal.lib.money import format_money
from portal.lib.sizes import GIB, format_bytes
from portal.lib.tasks import hint_on_commit

RESOURCE_KIND = "volume"
MAX_NAME = 60
MAX_VOLUMES = 100
_NAME = re.compile(r"[\w][\w .()+-]*", re.UNICODE)
_DAYS_PER_MONTH = 30


def create_volume(actor: Actor, *, name: str, size_gib: int, pool: str = "") -> Volume:
    """A new volume where `pool` can mount it, "" for the first place there is; billed from now.

    Its folder is made when it is first needed. Raises InvalidInput, InsufficientFunds, Conflict.
    """
    team = team_of(actor)
    if actor.user is None:
        raise InvalidInput("A volume is made by a person or with an API key.")
    place = _check(actor, name, size_gib, pool)
    labels = CostLabels(member_id=actor.user.pk, api_key_id=getattr(actor.api_key, "pk", None))
    with transaction.atomic():
        account = lock_account(ensure_account(team).pk)
        check_caps(account, labels)
        _check_funds(account, size_gib)
        if Volume.objects.filter(team=team, removed_at__isnull=True).count() >= MAX_VOLUMES:
            raise Conflict(f"A team has at most {MAX_VOLUMES} volumes. Remove one.")
        volume = Volume(
            team=team,
            created_by=actor.user,
            backend=place.backend,
            name=name.strip(),
            size_gib=size_gib,
        )
        _save_named(volume)
        _meter(account, volume, labels)
        audit.record(
            actor, "volume.created", team=team, object_id=volume.public_id, size_gib=size_gib
        )
        hint_on_commit("clusters.tasks.measure_volume", volume.pk)
    return volume


@transaction.atomic
def resize_volume(actor: Actor, volume_id: str, *, size_gib: int) -> Volume:
    """Make it larger, or smaller down to what is used; billed so from now on.

    Raises NotFound, NotAllowed, InvalidInput, InsufficientFunds.
    """
    account, volume = _lock(actor, volume_id)
    _check_may_change(actor, volume)
    if problem := _check_size(size_gib) or _check_fits(volume, size_gib):
        raise InvalidInput.of(size_gib=problem)
    if size_gib == volume.size_gib:
        return volume
    before, volume.size_gib = volume.size_gib, size_gib
    labels = CostLabels(member_id=getattr(actor.user, "pk", None))
    if size_gib > before:
        check_caps(account, labels)
        _check_funds(account, size_gib - before)
    volume.save(update_fields=["size_gib"])
    _meter(account, volume, labels)
    audit.record(
        actor,
        "volume.resized",
        team=volume.team,
        object_id=volume.public_id,
        size_gib=size_gib,
        before_gib=before,
    )
    return volume


@transaction.atomic
def rename_volume(actor: Actor, volume_id: str, *, name: str) -> Volume:
    """Give it another name. Raises NotFound, NotAllowed, InvalidInput, Conflict."""
    _, volume = _lock(actor, volume_id)
    _check_may_change(actor, volume)
    if problem := _check_name(name):
        raise InvalidInput.of(name=problem)
    before, volume.name = volume.name, name.strip()
    if before != volume.name:
        _save_named(volume)
        audit.record(
            actor,
            "volume.renamed",
            team=volume.team,
            object_id=volume.public_id,
            name=volume.name,
            before=before,
        )
    return volume


@transaction.atomic
def remove_volume(actor: Actor, volume_id: str) -> Volume:
    """Remove it with all its files; billing ends now, the control loop erases them.

    Raises NotFound, NotAllowed, and Conflict while something that is not at rest has it mounted.
    """
    account, volume = _lock(actor, volume_id)
    _check_may_change(actor, volume)
    _remove(actor, account, volume)
    return volume


@transaction.atomic
def remove_unpaid(account: BillingAccount, volume_key: int, actor: Actor) -> bool:
    """Remove a volume that nobody pays for; False where it is gone. Raises Conflict as above."""
    account = lock_account(account.pk)
    volume = Volume.objects.filter(pk=volume_key, removed_at__isnull=True).first()
    if volume is None:
        return False
    _remove(actor, account, volume)
    return True


def mountable(actor: Actor, volume_id: str, pool: Pool) -> Volume:
    """The volume, for a launch in `pool`. Raises InvalidInput naming the field `volume`.

    Call it inside the launch's transaction: it locks the team's account, so that nobody removes the
    volume before the workload that mounts it is there.
    """
    lock_account(ensure_account(team_of(actor)).pk)
    try:
        volume = volume_for(actor, volume_id)
    except NotFound as error:
        words = "There is no such volume. Choose one of the list."
        raise InvalidInput.of(volume=words) from error
    if volume.backend != pool.backend:
        words = f"{volume.name} lies elsewhere and cannot be mounted in {pool.name}."
        raise InvalidInput.of(volume=words)
    if keeper(volume.backend) is None:
        raise InvalidInput.of(volume=f"{pool.name} cannot mount volumes.")
    if volume.used_bytes > volume.size_bytes:
        words = (
            f"{volume.name} holds {format_bytes(volume.used_bytes)} of {volume.size_gib} GiB. "
            "Remove files or make it larger."
        )
        raise InvalidInput.of(volume=words)
    return volume


def mounted_by(volume: Volume) -> list[Workload]:
    """What has it mounted, or will have it as soon as it starts; newest first."""
    return list(volume.workloads.exclude(status__in=AT_REST).order_by("-pk"))


def may_change(actor: Actor, volume: Volume) -> bool:
    """Whether the actor may rename, resize and remove it: owners, and who made it."""
    if actor.kind == ActorKind.SYSTEM or actor.role == Role.OWNER:
        return True
    return actor.user is not None and actor.user.pk == volume.created_by_id


def month_micros_for(team: Team, size_gib: int) -> int:
    """What a volume of this size costs `team` a month. Raises NotFound without a price."""
    return month_micros(ensure_account(team), size_gib)


def _remove(actor: Actor, account: BillingAccount, volume: Volume) -> None:
    if holders := mounted_by(volume):
        holder = holders[0]
        what = f"The {holder.get_kind_display().lower()} {holder.name}"
        raise Conflict(f"{what} has this volume mounted. Stop it first.")
    now = clock.now()
    volume.removed_at = now
    volume.save(update_fields=["removed_at"])
    end_storage(account, _resource(volume), at=now)
    audit.record(
        actor, "volume.removed", team=volume.team, object_id=volume.public_id, name=volume.name
    )
    hint_on_commit("clusters.tasks.erase_volumes")


def _lock(actor: Actor, volume_id: str) -> tuple[BillingAccount, Volume]:
    """The account, locked, and the volume as it then stands."""
    account = lock_account(ensure_account(team_of(actor)).pk)
    return account, volume_for(actor, volume_id)


def _meter(account: BillingAccount, volume: Volume, labels: CostLabels) -> None:
    set_storage(account, _resource(volume), gib=volume.size_gib, at=clock.now(), labels=labels)


def _resource(volume: Volume) -> Resource:
    return Resource(RESOURCE_KIND, volume.pk, 0, volume.public_id, volume.name)


def _save_named(volume: Volume) -> None:
    try:
        with transaction.atomic():
            volume.save(update_fields=["name"] if volume.pk else None)
    except IntegrityError as error:
        if "volume_name" not in str(error):
            raise
        words = f"There is a volume called {volume.name} already."
        raise Conflict(words, fields={"name": words}) from error


def _check(actor: Actor, name: str, size_gib: int, pool: str) -> Pool:
    """The pool whose engine shall keep it. Raises InvalidInput naming every field."""
    open_pools = [each for each in pools_of(actor) if keeper(each.backend) is not None]
    chosen = [each for each in open_pools if pool in ("", each.slug)]
    problems = {"name": _check_name(name), "size_gib": _check_size(size_gib)}
    if not chosen:
        problems["pool"] = (
            "No pool of this name keeps volumes. Choose one of the list."
            if open_pools
            else "No pool keeps volumes here yet. The operators can add one that does."
        )
    problems = {field: problem for field, problem in problems.items() if problem}
    if problems:
        raise InvalidInput(next(iter(problems.values())), fields=problems)
    return chosen[0]


def _check_name(name: str) -> str:
    if not name.strip():
        return "Give the volume a name."
    if len(name.strip()) > MAX_NAME:
        return f"A name has at most {MAX_NAME} characters; this one has {len(name.strip())}."
    if not _NAME.fullmatch(name.strip()):
        return "Use letters, digits, spaces and . ( ) + - _ only."
    return ""


def _check_size(size_gib: int) -> str:
    if not 1 <= size_gib <= MAX_GIB:
        return f"Choose between 1 and {MAX_GIB:,} whole GiB."
    return ""


def _check_fits(volume: Volume, size_gib: int) -> str:
    if size_gib >= volume.size_gib:
        return ""
    if volume.measured_at is None:
        return "It is not known yet how much of it is used. Try again in a few minutes."
    if size_gib * GIB < volume.used_bytes:
        least = -(-volume.used_bytes // GIB)
        return f"It holds {format_bytes(volume.used_bytes)}: choose {least} GiB or more."
    return ""


def _check_may_change(actor: Actor, volume: Volume) -> None:
    if not may_change(actor, volume):
        raise NotAllowed("Only an owner of the team, or who made the volume, may do this.")


def _check_funds(account: BillingAccount, gib: int) -> None:
    """A day of it must be there. Raises NotFound without a price, InsufficientFunds."""
    day = -(-month_micros(account, gib) // _DAYS_PER_MONTH)
    if funds_of(account).available_micros < day:
        raise InsufficientFunds(
            f"{gib} GiB cost {format_money(day, digits=4)} a day, and less credit than that is "
            "left. Add credit first."
        )
