"""What cost is split by, from launch to hold and interval; prices per month."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from accounts.actor import Actor
from accounts.models import ApiKey, User
from billing.actions.metering import Resource, Start, close_interval, open_intervals
from billing.labels import CostLabels
from billing.models import BillingAccount, Hold, Price, Sku
from billing.models.catalogue import HOURS_PER_MONTH
from billing.queries.funds import funds_of
from clusters.models import Workload
from portal.lib.money import cost_micros
from tests.billing.books import assert_books
from tests.billing.conftest import START, Hands
from tests.conftest import Engine

BODY = {"name": "digits", "pool": "a100", "gpus": 1, "command": "true", "project": " vision "}


def test_launch_through_a_key_labels_the_job_and_its_hold(
    api: APIClient, alice: User, engine: Engine
) -> None:
    answer = api.post("/api/v1/jobs", BODY, format="json")
    assert answer.status_code == 201, answer.content
    assert answer.json()["project"] == "vision"
    job, key = Workload.objects.get(), ApiKey.objects.get()
    assert job.cost_labels == CostLabels("vision", alice.pk, key.pk, "a100")
    hold = Hold.objects.get()
    assert (hold.project, hold.member, hold.api_key) == ("vision", alice, key)


@pytest.mark.parametrize("project", ["a\0b", "two\nlines", "x" * 61, "\x1b[31m"])
def test_project_that_is_no_label_is_refused(api: APIClient, engine: Engine, project: str) -> None:
    answer = api.post("/api/v1/jobs", BODY | {"project": project}, format="json")
    assert answer.status_code == 400
    assert not Workload.objects.exists()


def test_interval_keeps_its_labels(account: BillingAccount, prices: Price, actor: Actor) -> None:
    assert actor.user is not None
    start = Start(
        account,
        prices.sku.code,
        prices,
        Resource("workload", 1, 1, "job_1", "train"),
        quantity=1,
        started_at=START,
        labels=CostLabels("vision", actor.user.pk),
    )
    interval = open_intervals([start])[0]
    assert (interval.project, interval.member, interval.api_key) == ("vision", actor.user, None)


def test_price_by_the_month_is_exact_over_any_time(
    account: BillingAccount, prices: Price, hands: Hands
) -> None:
    sku = Sku.objects.create(code="files", label="Files", meter="storage", unit="GiB-month")
    price = Price.objects.create(
        book=prices.book,
        sku=sku,
        unit_micros=70_000,
        unit_hours=HOURS_PER_MONTH,
        valid_during=(START, None),
    )
    start = Start(
        account, "files", price, Resource("volume", 1, 1, "vol_1", "data"), 3, started_at=START
    )
    open_intervals([start])
    hands.forward(hours=1)
    assert price.micros_per_hour == 96
    assert funds_of(account).burn_micros_per_hour == 288
    assert funds_of(account).balance_micros == 50_000_000 - 210_000 // 730
    closed = close_interval("volume", 1, 1, ended_at=START + timedelta(hours=730))
    assert closed is not None
    assert closed.billed_micros == 210_000
    assert_books(account)


def test_a_month_of_storage_costs_its_price() -> None:
    month_us = HOURS_PER_MONTH * 3_600_000_000
    assert cost_micros(99_999, 7, month_us, unit_hours=HOURS_PER_MONTH) == 699_993
