"""Requests that come at the same instant, on a real database with a thread each."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from accounts.actions.teams import create_api_key
from accounts.actor import Actor
from billing.models import Hold
from clusters.models import GpuAllotment, Workload
from clusters.tasks import drive_pool
from tests.conftest import Engine

pytestmark = pytest.mark.django_db(transaction=True)
THREADS = 8


def at_once(deed: Callable[[int], Any]) -> list[Any]:
    """The results of `deed(0)`, `deed(1)`, ... in threads that close their connections."""

    def run(number: int) -> Any:
        try:
            return deed(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def poster(actor: Actor) -> Callable[[str], Any]:
    """POSTs a job of one minute with an Idempotency-Key."""
    secret = create_api_key(actor, name="races")[1]
    body = json.dumps({"name": "race", "pool": "a100", "command": "true", "gpus": 4})

    def post(key: str) -> Any:
        return Client().post(
            "/api/v1/jobs",
            body,
            content_type="application/json",
            headers={"Authorization": f"Bearer {secret}", "Idempotency-Key": key},
        )

    return post


def test_one_key_launches_one_job(engine: Engine, actor: Actor) -> None:
    post = poster(actor)
    answers = at_once(lambda _number: post("the same"))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Workload.objects.count() == 1


def test_holds_never_exceed_the_balance(engine: Engine, actor: Actor) -> None:
    post = poster(actor)
    answers = at_once(lambda number: post(f"key {number}"))
    # $50 holds five launches of $8.40.
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [402] * 3
    assert Hold.objects.count() == 5


def test_workers_side_by_side_place_and_submit_each_attempt_once(
    engine: Engine, actor: Actor
) -> None:
    post = poster(actor)
    post("one")
    post("two")
    at_once(lambda _number: drive_pool(engine.pool.pk))
    assert len(engine.backend.submits) == 1
    assert GpuAllotment.objects.filter(released_at__isnull=True).count() == 4


def test_a_form_sent_at_the_same_instant_launches_once(engine: Engine, actor: Actor) -> None:
    assert actor.user is not None
    browser = Client()
    browser.force_login(actor.user)
    cookies = browser.cookies
    form = {
        "name": "race", "pool": "a100", "gpus": "1", "hours": "0", "minutes": "10",
        "command": "true", "environment": "system", "form_key": "k" * 24,
    }  # fmt: skip

    def post(_number: int) -> Any:
        sender = Client()
        sender.cookies = cookies
        return sender.post("/jobs/new/", form)

    answers = at_once(post)
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer["Location"] for answer in answers}) == 1
    assert Workload.objects.count() == 1
