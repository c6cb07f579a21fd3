"""Pages of a pool whose engine keeps the queue and gives several nodes to one job."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from accounts.actor import Actor
from accounts.models import Team, User
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.models import Attempt, Workload
from clusters.tasks import drive_pool
from tests.conftest import Engine
from tests.fakes.backend import FakeBackend
from tests.fakes.loop import tick
from tests.fakes.queueing import QueueingBackend

SignIn = Callable[[User], Client]
REQUEST = JobRequest("ddp", "a100", 8, "torchrun train.py", time_limit_seconds=600, nodes=2)
FORM = {
    "name": "ddp", "pool": "a100", "gpus": "8", "nodes": "2", "environment": "system",
    "hours": "0", "minutes": "10", "retries": "3", "command": "torchrun train.py", "env": "",
}  # fmt: skip


@pytest.fixture
def engine_class() -> type[FakeBackend]:
    """One that queues."""
    return QueueingBackend


@pytest.fixture
def browser(alice: User, team: Team, engine: Engine, client_of: SignIn) -> Client:
    """Alice's, before a pool of up to 8 GPUs on 2 nodes for one job."""
    engine.pool.max_gpus_per_workload = 8
    engine.pool.max_nodes_per_workload = 2
    engine.pool.save()
    return client_of(alice)


@pytest.fixture
def waiting(browser: Client, actor: Actor, engine: Engine) -> Workload:
    """A job in the engine's queue."""
    job = launch(actor, REQUEST)
    drive_pool(engine.pool.pk)
    tick()
    return job


def test_the_status_gives_the_clusters_reason_and_advice(
    browser: Client, waiting: Workload
) -> None:
    page = browser.get(f"/jobs/{waiting.public_id}/status/").content.decode()
    assert "Waiting for its turn in the cluster&#x27;s queue." in page
    assert "Nine jobs are ahead of it. A shorter time limit starts sooner." in page


def test_no_place_is_named_in_a_queue_the_portal_does_not_keep(
    browser: Client, waiting: Workload
) -> None:
    assert "in the queue." not in browser.get(f"/jobs/{waiting.public_id}/").content.decode()
    assert "next</span>" not in browser.get("/jobs/").content.decode()


def test_before_the_engine_has_it_it_is_on_its_way(
    browser: Client, actor: Actor, engine: Engine
) -> None:
    job = launch(actor, REQUEST)
    page = browser.get(f"/jobs/{job.public_id}/status/").content.decode()
    assert "On its way into the cluster&#x27;s queue." in page


def test_stop_says_that_it_leaves_the_clusters_queue(browser: Client, waiting: Workload) -> None:
    page = browser.get(f"/jobs/{waiting.public_id}/status/").content.decode()
    assert "It is taken out of the cluster&#x27;s queue" in page


def test_where_it_runs_is_shown_with_the_clusters_own_number(
    browser: Client, waiting: Workload, engine: Engine
) -> None:
    assert isinstance(engine.backend, QueueingBackend)
    engine.backend.begin(Attempt.objects.get().external_name, node="gpu-1,gpu-2")
    tick()
    page = browser.get(f"/jobs/{waiting.public_id}/").content.decode()
    assert "gpu-1,gpu-2" in page
    assert "4711" in page
    assert "on 2 nodes" in page
    assert "2, 4 GPUs each" in page


def test_the_form_launches_on_several_nodes(browser: Client) -> None:
    assert browser.post("/jobs/new/", FORM).status_code == 303
    job = Workload.objects.get()
    assert (job.gpus, job.nodes, job.max_retries) == (8, 2, 3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"nodes": "3", "gpus": "6"}, "at most 2 nodes"),
        ({"nodes": "0"}, "Ask for at least 1 node."),
        ({"gpus": "7"}, "7 GPUs cannot be shared equally by 2 nodes."),
        ({"retries": "11"}, "At most 10 retries are taken."),
        ({"retries": "-1"}, "Write 0 or more."),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    browser: Client, change: dict[str, str], sentence: str
) -> None:
    response = browser.post("/jobs/new/", FORM | change)
    assert response.status_code == 400
    assert sentence in response.content.decode()
    assert not Workload.objects.exists()


def test_the_panel_says_that_the_cluster_queues(browser: Client) -> None:
    asked = {"pool": "a100", "gpus": "8", "nodes": "2", "hours": "1"}
    page = browser.get("/jobs/quote/", asked).content.decode()
    assert "Queued by the cluster." in page
    assert "Launch 8 \N{MULTIPLICATION SIGN} A100 test on 2 nodes" in page


def test_the_panel_refuses_shares_that_are_not_equal(browser: Client) -> None:
    asked = {"pool": "a100", "gpus": "7", "nodes": "2", "hours": "1"}
    page = browser.get("/jobs/quote/", asked).content.decode()
    assert "7 GPUs cannot be shared equally by 2 nodes." in page


def test_nodes_are_asked_for_only_where_a_pool_gives_them(browser: Client, engine: Engine) -> None:
    assert 'name="nodes"' in browser.get("/jobs/new/").content.decode()
    engine.pool.max_nodes_per_workload = 1
    engine.pool.save()
    assert 'name="nodes"' not in browser.get("/jobs/new/").content.decode()


def test_launch_again_fills_nodes_and_retries(browser: Client, waiting: Workload) -> None:
    form = browser.get(f"/jobs/new/?clone={waiting.public_id}").context["form"]
    assert [form[name].value() for name in ("gpus", "nodes", "retries")] == [8, 2, 0]
