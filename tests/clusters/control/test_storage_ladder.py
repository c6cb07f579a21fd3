"""What becomes of kept files when nothing is left to pay for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail

from accounts.actor import Actor
from accounts.models import AuditEvent
from billing.actions.credit import grant_credit
from billing.actions.metering import Resource
from billing.actions.prices import add_sku
from billing.actions.storage import set_storage
from billing.choices import Enforcement, Meter
from billing.models import BillingAccount, EnforcementAction, UsageInterval
from billing.queries.storage import keeps_storage
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.trees import open_tree
from clusters.actions.volumes import create_volume
from clusters.models import Workload
from clusters.tasks import erase_volumes
from portal.lib.money import MICROS
from tests.billing.books import assert_books
from tests.clusters.control.conftest import Time, subjects
from tests.conftest import Engine

DATA = Resource("volume", 7, 0, "vol_7", "data")
# 730 GiB at $10 a GiB and month burn $10 an hour: $50 last five hours.
GIB, MONTHLY = 730, 10 * MICROS


@pytest.fixture(autouse=True)
def _kept(account: BillingAccount, time: Time, settings: Any) -> None:
    settings.STORAGE_SKU = "storage"
    add_sku(Actor.system(), "storage", label="Storage", unit_micros=MONTHLY, meter=Meter.STORAGE)
    set_storage(account, DATA, gib=GIB, at=time.now)


def words() -> list[str]:
    return [subject.split(": ")[1] for subject in subjects()]


def test_files_outlive_the_credit_and_are_deleted_after_the_days(
    account: BillingAccount, time: Time
) -> None:
    time.forward(hours=5)
    time.forward(days=14, seconds=-1)
    assert keeps_storage(account)
    time.forward(seconds=1)
    assert not keeps_storage(account)
    done = EnforcementAction.objects.get()
    assert (done.kind, done.subject) == (Enforcement.STORAGE_DELETE, "vol_7")
    assert_books(account)


def test_files_cost_until_they_are_deleted_and_nothing_after(
    account: BillingAccount, time: Time
) -> None:
    began = time.now
    time.forward(hours=5)
    time.forward(days=14)
    time.forward(days=1)
    interval = UsageInterval.objects.get()
    assert interval.ended_at == began + timedelta(hours=5, days=14)
    assert interval.billed_micros == (14 * 24 + 5) * 10 * MICROS


def test_every_step_is_told_once(account: BillingAccount, time: Time) -> None:
    began = time.now
    for _ in range(2):
        time.forward(minutes=1)
    for hours in (4, 2, 24, 24 * 10, 24, 24, 24, 24, 24):
        time.forward(hours=hours)
    # Six hours and two minutes after the beginning it was seen, and at most a look before that.
    ends = began + timedelta(days=14, hours=6, minutes=2, seconds=-10)
    assert words() == [
        "credit for less than a day",
        "credit for less than an hour",
        "the credit is used up",
        f"your files are deleted on {ends:%-d %B %Y, %H:%M} UTC",
        "kept files were deleted",
    ]


def test_notices_name_the_day_and_the_cost(account: BillingAccount, time: Time) -> None:
    time.forward(hours=5)
    assert f"Kept files stay until {time.now + timedelta(days=14):%-d %B %Y, %H:%M}" in body()
    time.forward(days=11)
    assert "unless credit is added before" in body()


def body() -> str:
    return str(mail.outbox[-1].body)


def test_credit_in_time_keeps_the_files(account: BillingAccount, time: Time) -> None:
    time.forward(hours=6)
    time.forward(days=12)
    grant_credit(
        Actor.system("tests"),
        account,
        amount_micros=9_000 * MICROS,
        reason="tests",
        idempotency_key="in time",
    )
    time.forward(days=3)
    assert keeps_storage(account)
    assert not EnforcementAction.objects.exists()


def test_team_that_has_credit_keeps_its_files(account: BillingAccount, time: Time) -> None:
    time.forward(hours=4)
    assert keeps_storage(account)


def test_volumes_are_removed_with_their_files(
    account: BillingAccount, actor: Actor, engine: Engine, time: Time
) -> None:
    volume = create_volume(actor, name="data", size_gib=1)
    open_tree(volume).close()
    time.forward(hours=5)
    time.forward(days=14)
    volume.refresh_from_db()
    assert volume.removed_at == time.now
    assert UsageInterval.objects.get(resource_public_id=volume.public_id).ended_at == time.now
    erase_volumes()
    assert not engine.backend.volume_path(volume.public_id).exists()
    subjects = EnforcementAction.objects.values_list("subject", flat=True)
    assert sorted(subjects) == sorted(["vol_7", volume.public_id])
    assert AuditEvent.objects.get(verb="volume.removed").reason == "nothing is left to pay it"
    assert_books(account)


def test_a_volume_that_is_still_mounted_waits_until_it_is_not(
    account: BillingAccount, actor: Actor, engine: Engine, time: Time
) -> None:
    volume = create_volume(actor, name="data", size_gib=1)
    request = JobRequest(name="x", pool="a100", gpus=4, command="x", time_limit_seconds=600)
    blocked = launch(actor, request)
    Workload.objects.filter(pk=blocked.pk).update(volume=volume, status="stopping")
    time.forward(hours=5)
    time.forward(days=14)
    volume.refresh_from_db()
    assert volume.removed_at is None
    assert not EnforcementAction.objects.filter(subject=volume.public_id).exists()
    Workload.objects.filter(pk=blocked.pk).update(status="failed")
    time.forward(seconds=10)
    volume.refresh_from_db()
    assert volume.removed_at == time.now
