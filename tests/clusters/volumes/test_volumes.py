"""Volumes: who may do what to them, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from accounts.access import actor_of_user
from accounts.actions.teams import create_team
from accounts.actor import Actor
from accounts.models import AuditEvent
from billing.actions.budgets import set_budget
from billing.choices import BudgetScope
from billing.models import BillingAccount, Price, UsageInterval
from billing.models.catalogue import HOURS_PER_MONTH
from billing.queries.usage import cost_of
from clusters.actions.jobs import cancel
from clusters.actions.volumes import (
    MAX_VOLUMES,
    create_volume,
    mountable,
    remove_volume,
    rename_volume,
    resize_volume,
)
from clusters.models import Pool, Volume
from portal.lib import clock
from portal.lib.errors import Conflict, InsufficientFunds, InvalidInput, NotAllowed, NotFound
from portal.lib.money import cost_micros
from tests.billing.books import assert_books
from tests.clusters.volumes.conftest import GIB, MONTHLY, mount
from tests.conftest import fund, make_person


class Now:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = clock.now()

    def forward(self, **span: float) -> datetime:
        self.at += timedelta(**span)
        return self.at


@pytest.fixture
def now() -> Iterator[Now]:
    now = Now()
    with clock.use(lambda: now.at):
        yield now


def changes(actor: Actor, volume: Volume) -> list[Callable[[], Volume]]:
    """All that can be done to a volume as a whole."""
    return [
        partial(remove_volume, actor, volume.public_id),
        partial(rename_volume, actor, volume.public_id, name="x"),
        partial(resize_volume, actor, volume.public_id, size_gib=20),
    ]


def owed(gib: int, span: timedelta) -> int:
    microseconds = span // timedelta(microseconds=1)
    return cost_micros(MONTHLY, gib, microseconds, unit_hours=HOURS_PER_MONTH)


def test_its_size_is_billed_from_creation_to_removal(
    actor: Actor, account: BillingAccount, now: Now
) -> None:
    volume = create_volume(actor, name="data", size_gib=100)
    now.forward(days=3)
    resize_volume(actor, volume.public_id, size_gib=250)
    now.forward(hours=5)
    remove_volume(actor, volume.public_id)
    now.forward(days=9)
    assert cost_of("volume", [volume.pk]) == {
        volume.pk: owed(100, timedelta(days=3)) + owed(250, timedelta(hours=5))
    }
    first, second = UsageInterval.objects.order_by("started_at")
    assert (first.quantity, second.quantity) == (100, 250)
    assert first.ended_at == second.started_at
    assert (second.resource_public_id, second.resource_label) == (volume.public_id, "data")
    assert_books(account)


def test_what_is_used_does_not_change_the_bill(volume: Volume) -> None:
    Volume.objects.update(used_bytes=3 * GIB)
    assert UsageInterval.objects.get().quantity == 10


def test_each_deed_is_on_record(actor: Actor, volume: Volume) -> None:
    rename_volume(actor, volume.public_id, name="sets")
    resize_volume(actor, volume.public_id, size_gib=20)
    remove_volume(actor, volume.public_id)
    verbs = AuditEvent.objects.filter(object_id=volume.public_id).order_by("pk")
    assert [event.verb for event in verbs] == [
        "volume.created", "volume.renamed", "volume.resized", "volume.removed",
    ]  # fmt: skip
    assert all(event.user == actor.user for event in verbs)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"size_gib": 0}, "size_gib"),
        ({"size_gib": 10_001}, "size_gib"),
        ({"pool": "tape"}, "pool"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(
    actor: Actor, asked: dict[str, Any], field: str
) -> None:
    whole: dict[str, Any] = {"name": "data", "size_gib": 1, **asked}
    with pytest.raises(InvalidInput) as caught:
        create_volume(actor, **whole)
    assert list(caught.value.fields) == [field]
    assert not Volume.objects.exists()


def test_a_name_is_taken_until_its_volume_is_removed(actor: Actor, volume: Volume) -> None:
    with pytest.raises(Conflict, match="called data already"):
        create_volume(actor, name="data", size_gib=1)
    other = create_volume(actor, name="other", size_gib=1)
    with pytest.raises(Conflict, match="called data already"):
        rename_volume(actor, other.public_id, name="data")
    remove_volume(actor, volume.public_id)
    rename_volume(actor, other.public_id, name="data")


def test_teams_may_use_the_same_name(volume: Volume, stranger: Actor) -> None:
    assert create_volume(stranger, name="data", size_gib=1).team == stranger.team


def test_a_day_of_it_must_be_paid_for(prices: Price) -> None:
    team = create_team(owner=make_person("erin@example.org"), name="New")
    erin = actor_of_user(team.members.get())
    with pytest.raises(InsufficientFunds, match=r"100 GiB cost \$0\.2333 a day"):
        create_volume(erin, name="data", size_gib=100)
    fund(team, 233_400)
    create_volume(erin, name="data", size_gib=100)


def test_without_a_price_there_are_no_volumes(actor: Actor, settings: Any) -> None:
    settings.STORAGE_SKU = "unsold"
    with pytest.raises(NotFound, match="no price"):
        create_volume(actor, name="data", size_gib=1)
    assert not Volume.objects.exists()


def test_a_budget_that_is_used_up_allows_none(actor: Actor, volume: Volume, now: Now) -> None:
    set_budget(actor, BudgetScope.TEAM, "", amount_micros=10_000, is_hard=True)
    now.forward(days=10)
    with pytest.raises(InsufficientFunds, match="budget"):
        create_volume(actor, name="more", size_gib=1)
    with pytest.raises(InsufficientFunds, match="budget"):
        resize_volume(actor, volume.public_id, size_gib=11)
    Volume.objects.update(measured_at=now.at)
    resize_volume(actor, volume.public_id, size_gib=9)


def test_it_shrinks_to_what_is_used_and_no_further(actor: Actor, volume: Volume) -> None:
    Volume.objects.update(used_bytes=3 * GIB + 1, measured_at=clock.now())
    with pytest.raises(InvalidInput, match="choose 4 GiB or more"):
        resize_volume(actor, volume.public_id, size_gib=3)
    assert resize_volume(actor, volume.public_id, size_gib=4).size_gib == 4


def test_it_does_not_shrink_while_it_is_not_known_what_is_used(
    actor: Actor, volume: Volume
) -> None:
    with pytest.raises(InvalidInput, match="not known yet"):
        resize_volume(actor, volume.public_id, size_gib=5)
    assert resize_volume(actor, volume.public_id, size_gib=15).size_gib == 15


def test_a_rename_does_not_forget_what_was_taken_meanwhile(actor: Actor, volume: Volume) -> None:
    Volume.objects.update(used_bytes=GIB)
    assert rename_volume(actor, volume.public_id, name="sets").name == "sets"
    volume.refresh_from_db()
    assert (volume.name, volume.used_bytes) == ("sets", GIB)


def test_what_is_mounted_is_not_removed(actor: Actor, volume: Volume) -> None:
    job = mount(actor, volume)
    with pytest.raises(Conflict, match="The job train has this volume mounted"):
        remove_volume(actor, volume.public_id)
    cancel(actor, job.public_id)
    remove_volume(actor, volume.public_id)


def test_a_removed_volume_is_not_found_any_more(actor: Actor, volume: Volume) -> None:
    remove_volume(actor, volume.public_id)
    for deed in changes(actor, volume):
        with pytest.raises(NotFound):
            deed()


def test_owners_and_who_made_it_may_change_it(actor: Actor, member: Actor, volume: Volume) -> None:
    for deed in changes(member, volume):
        with pytest.raises(NotAllowed, match="owner of the team, or who made"):
            deed()
    theirs = create_volume(member, name="theirs", size_gib=1)
    rename_volume(member, theirs.public_id, name="mine")
    remove_volume(actor, theirs.public_id)


def test_other_teams_do_not_find_it(stranger: Actor, volume: Volume, pool: Pool) -> None:
    with pytest.raises(NotFound):
        remove_volume(stranger, volume.public_id)
    with pytest.raises(InvalidInput, match="no such volume"):
        mountable(stranger, volume.public_id, pool)


def test_it_can_be_mounted_where_it_lies(actor: Actor, volume: Volume, pool: Pool) -> None:
    assert mountable(actor, volume.public_id, pool) == volume
    pool.backend = "slurm"
    with pytest.raises(InvalidInput, match="lies elsewhere"):
        mountable(actor, volume.public_id, pool)


def test_it_cannot_while_it_holds_more_than_its_size(
    actor: Actor, volume: Volume, pool: Pool
) -> None:
    Volume.objects.update(used_bytes=10 * GIB)
    mountable(actor, volume.public_id, pool)
    Volume.objects.update(used_bytes=12 * GIB)
    with pytest.raises(InvalidInput, match=r"holds 12\.0 GiB of 10 GiB"):
        mountable(actor, volume.public_id, pool)


def test_a_team_has_so_many_and_no_more(actor: Actor, volume: Volume) -> None:
    others = [
        Volume(team=volume.team, created_by=volume.created_by, name=f"{number}", size_gib=1)
        for number in range(MAX_VOLUMES - 2)
    ]
    Volume.objects.bulk_create(others)
    create_volume(actor, name="last", size_gib=1)
    with pytest.raises(Conflict, match="at most 100 volumes"):
        create_volume(actor, name="more", size_gib=1)
