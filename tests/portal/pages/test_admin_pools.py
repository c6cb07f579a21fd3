"""Operators add and change pools in the console, open and close them, and drain machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.actor import Actor
from accounts.models import AuditEvent, User
from billing.models import Price, Sku
from billing.queries.prices import list_prices
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.models import Gpu, Node, Pool
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.cluster_backend import ClusterBackend

ADD = "/admin/clusters/pool/new/"
REQUEST = JobRequest(name="digits", pool="a100", gpus=1, command="true", time_limit_seconds=600)


@pytest.fixture
def console(client_of: Callable[[User], Client], dora: User) -> Client:
    """Dora's browser."""
    return client_of(dora)


@pytest.fixture
def cluster(engine: Engine, settings: Any) -> ClusterBackend:
    """A second engine, which wants to know a partition."""
    factory = "tests.fakes.cluster_backend.the_cluster"
    settings.BACKENDS = {**settings.BACKENDS, "slurm": {"factory": factory, "label": "Slurm"}}
    return ClusterBackend()


def filled(**changes: object) -> dict[str, object]:
    """The form as an operator sends it."""
    return {
        "name": "A100 80 GB",
        "slug": "a100-80",
        "gpu_model": "NVIDIA A100-SXM4-80GB",
        "price": "2.45",
        "backend": "slurm",
        "environments": "python-data, system",
        "options.slurm.partition": "gpu",
        "options.slurm.account": "",
        "max_gpus_per_workload": "16",
        "max_nodes_per_workload": "2",
        "max_time_limit_seconds": "72",
        "grace_seconds": "30",
        "memory_bytes_per_gpu": "120.5",
        "cpu_cores_per_gpu": "8",
        "pids": "4096",
        "disk_bytes": "500",
        "log_bytes": "64",
        "is_open": "on",
    } | changes


def errors_of(response: Any) -> dict[str, list[str]]:
    """Field -> what the form says of it."""
    assert response.status_code == 400
    return dict(response.context["form"].errors.items())


def change_path(pool: Pool) -> str:
    return f"/admin/clusters/pool/{pool.pk}/settings/"


def as_shown(console: Client, pool: Pool) -> dict[str, object]:
    """What the form of `pool` holds when it is opened, with a reason."""
    form = console.get(change_path(pool)).context["form"]
    values = {bound.html_name: bound.value() for bound in form}
    sent = {name: value for name, value in values.items() if value not in (None, False)}
    return sent | {"reason": "Prices of March"}


def test_a_pool_is_added_with_its_price_and_inventory(
    console: Client, cluster: ClusterBackend
) -> None:
    page = console.post(ADD, filled(), follow=True).content.decode()
    assert "A100 80 GB is saved. 4 nodes, 32 GPUs found." in page
    pool = Pool.objects.get(slug="a100-80")
    assert pool.is_open
    assert pool.options == {"partition": "gpu", "account": "fastgpu"}
    assert pool.environments == ["python-data", "system"]
    assert (pool.max_time_limit_seconds, pool.disk_bytes) == (72 * 3600, 500 * 1024**3)
    assert pool.memory_bytes_per_gpu == 241 * 1024**3 // 2
    assert list_prices(at=clock.now())["a100-80"] == 2_450_000
    assert Gpu.objects.filter(node__pool=pool, is_present=True).count() == 32
    event = AuditEvent.objects.get(verb="pool.added")
    assert (event.object_id, event.detail["backend"]) == (pool.public_id, "slurm")


def test_people_launch_in_it_at_once(
    console: Client, cluster: ClusterBackend, actor: Actor
) -> None:
    console.post(ADD, filled())
    asked = JobRequest(name="big", pool="a100-80", gpus=16, nodes=2, command="true")
    job = launch(actor, asked)
    assert job.price.micros_per_hour == 2_450_000


def test_an_engine_that_does_not_answer_leaves_it_saved_and_closed(
    console: Client, cluster: ClusterBackend
) -> None:
    cluster.is_down = True
    page = console.post(ADD, filled(), follow=True).content.decode()
    assert "Slurm does not answer: the engine does not answer." in page
    assert "closed until you open it" in page
    assert not Pool.objects.get(slug="a100-80").is_open


def test_an_engine_without_gpus_for_it_leaves_it_closed(
    console: Client, cluster: ClusterBackend
) -> None:
    sent = filled(**{"options.slurm.partition": "empty"})
    page = console.post(ADD, sent, follow=True).content.decode()
    assert "Slurm has no GPUs for it, so it is closed." in page
    assert not Pool.objects.get(slug="a100-80").is_open


def test_gpus_of_another_open_pool_are_not_sold_again(
    console: Client, cluster: ClusterBackend
) -> None:
    sent = filled(backend="local", max_nodes_per_workload="1")
    page = console.post(ADD, sent, follow=True).content.decode()
    assert "4 more are in another open pool." in page
    assert not Pool.objects.get(slug="a100-80").is_open


def test_it_is_kept_closed_on_request(console: Client, cluster: ClusterBackend) -> None:
    sent = filled()
    del sent["is_open"]
    console.post(ADD, sent)
    assert not Pool.objects.get(slug="a100-80").is_open


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "", "required"),
        ("name", "two\nlines", "one line"),
        ("slug", "A 100", "lower-case"),
        ("slug", "a100", "a pool a100 already"),
        ("slug", "a100-test", "sold as a100-test already"),
        ("price", "", "required"),
        ("price", "-1", "greater than or equal to 0"),
        ("price", "1000.01", "between $0 and $1,000"),
        ("price", "NaN", "Enter a number"),
        ("price", "1e999", "digits"),
        ("backend", "nothing", "not one of the available choices"),
        ("environments", ",", "one environment at least"),
        ("environments", "../etc", "no name of an environment"),
        ("environments", "a, a", "named twice"),
        ("options.slurm.partition", "", "required"),
        ("options.slurm.partition", "gpu; rm", "cannot be used"),
        ("max_gpus_per_workload", "0", "Between 1 and"),
        ("max_gpus_per_workload", "99999999999", "less than or equal"),
        ("max_nodes_per_workload", "17", "one GPU at least"),
        ("max_time_limit_seconds", "0.001", "Between 1 minute"),
        ("memory_bytes_per_gpu", "0", "Between 16 MiB"),
        ("cpu_cores_per_gpu", "0", "Between 0.1"),
        ("grace_seconds", "4000", "1 hour"),
    ],
)
def test_bad_input_is_said_at_its_field_and_nothing_is_made(
    console: Client, cluster: ClusterBackend, field: str, value: str, said: str
) -> None:
    errors = errors_of(console.post(ADD, filled(**{field: value})))
    assert list(errors) == [field]
    assert said in errors[field][0]
    assert Pool.objects.count() == Sku.objects.count() == Price.objects.count() == 1
    assert not AuditEvent.objects.filter(verb__in=["pool.added", "price.set"]).exists()


def test_an_engine_of_one_node_a_job_takes_no_more(
    console: Client, cluster: ClusterBackend
) -> None:
    errors = errors_of(console.post(ADD, filled(backend="local")))
    assert errors == {"max_nodes_per_workload": ["This engine runs each job on one node."]}


def test_all_that_is_wrong_is_said_at_once(console: Client, cluster: ClusterBackend) -> None:
    sent = filled(**{"slug": "A 100", "price": "", "options.slurm.partition": "a b"})
    errors = errors_of(console.post(ADD, sent))
    assert set(errors) == {"slug", "price", "options.slurm.partition"}


def test_a_pool_that_has_no_price_is_not_given_away(
    console: Client, pool: Pool, prices: Price
) -> None:
    Pool.objects.update(sku_code="none")
    shown = as_shown(console, pool)
    assert "price" not in shown
    assert list(errors_of(console.post(change_path(pool), shown))) == ["price"]


def test_the_list_counts_what_the_engine_says_is_in_use(
    console: Client, cluster: ClusterBackend
) -> None:
    console.post(ADD, filled())
    Node.objects.filter(name="gpu1").update(gpus_in_use=6)
    assert "26 of 32" in console.get("/admin/clusters/pool/").content.decode()


def test_options_of_engines_that_are_not_chosen_do_not_matter(
    console: Client, cluster: ClusterBackend
) -> None:
    Pool.objects.update(is_open=False)
    sent = filled(backend="local", max_nodes_per_workload="1")
    console.post(ADD, sent | {"options.slurm.partition": ";"})
    assert Pool.objects.get(slug="a100-80").options == {}


def test_the_form_asks_what_each_engine_asks_for(console: Client, cluster: ClusterBackend) -> None:
    page = console.get(ADD).content.decode()
    assert "Options of Slurm" in page
    assert 'name="options.slurm.partition"' in page
    assert 'value="fastgpu"' in page


def test_an_engine_that_cannot_be_made_is_said_and_breaks_nothing(
    console: Client, engine: Engine, settings: Any
) -> None:
    settings.BACKENDS = {**settings.BACKENDS, "slurm": {"factory": "no.such.factory"}}
    assert "cannot be used" in console.get(ADD).content.decode()
    sent = filled()
    assert list(errors_of(console.post(ADD, sent))) == ["backend"]


def test_saving_a_form_as_it_is_shown_changes_nothing(console: Client, pool: Pool) -> None:
    Pool.objects.update(memory_bytes_per_gpu=8_123_456_789, cpu_cores_per_gpu=10 / 3)
    columns = [field.name for field in Pool._meta.fields if field.name != "observed_at"]
    before = Pool.objects.values(*columns).get()
    console.post(change_path(pool), as_shown(console, pool))
    assert Pool.objects.values(*columns).get() == before
    assert Price.objects.count() == 1
    assert not AuditEvent.objects.filter(verb="pool.changed").exists()


def test_a_new_price_is_for_launches_from_now_on(console: Client, pool: Pool, actor: Actor) -> None:
    first = launch(actor, REQUEST)
    console.post(change_path(pool), as_shown(console, pool) | {"price": "3.10"})
    second = launch(actor, REQUEST)
    first.refresh_from_db()
    assert first.price.micros_per_hour == 2_100_000
    assert second.price.micros_per_hour == 3_100_000


def test_a_change_is_kept_with_its_reason(console: Client, pool: Pool, dora: User) -> None:
    console.post(change_path(pool), as_shown(console, pool) | {"name": "A100 fast", "pids": "99"})
    event = AuditEvent.objects.get(verb="pool.changed")
    assert (event.user, event.reason) == (dora, "Prices of March")
    assert event.detail == {"name": ["A100 test", "A100 fast"], "pids": [512, 99]}


def test_without_a_reason_nothing_is_changed(console: Client, pool: Pool) -> None:
    sent = as_shown(console, pool) | {"name": "A100 fast", "reason": " "}
    assert list(errors_of(console.post(change_path(pool), sent))) == ["reason"]
    pool.refresh_from_db()
    assert pool.name == "A100 test"


def test_a_change_while_the_engine_is_away_keeps_it_open(console: Client, engine: Engine) -> None:
    sent = as_shown(console, engine.pool) | {"name": "A100 fast"}
    engine.backend.is_down = True
    console.post(change_path(engine.pool), sent)
    engine.pool.refresh_from_db()
    assert (engine.pool.name, engine.pool.is_open) == ("A100 fast", True)


def test_the_engine_is_not_changed_under_work(
    console: Client, pool: Pool, cluster: ClusterBackend, actor: Actor
) -> None:
    launch(actor, REQUEST)
    Pool.objects.update(is_open=False)
    sent = as_shown(console, pool) | {"backend": "slurm", "options.slurm.partition": "gpu"}
    assert list(errors_of(console.post(change_path(pool), sent))) == ["backend"]


def test_it_is_changed_on_a_closed_and_empty_pool(
    console: Client, pool: Pool, cluster: ClusterBackend
) -> None:
    Pool.objects.update(is_open=False)
    sent = as_shown(console, pool) | {"backend": "slurm", "options.slurm.partition": "gpu"}
    page = console.post(change_path(pool), sent, follow=True).content.decode()
    assert "4 nodes, 32 GPUs found." in page
    pool.refresh_from_db()
    assert (pool.backend, pool.is_open) == ("slurm", False)


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("close", {"is_open": True}, {"is_open": False}),
        ("open", {"is_open": False}, {"is_open": True}),
        ("close-breaker", {"breaker_opened_at": clock.now()}, {"breaker_opened_at": None}),
    ],
)
def test_the_buttons_of_a_pool_ask_why(
    console: Client, pool: Pool, verb: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    Pool.objects.update(**before)
    path = f"/admin/clusters/pool/{pool.pk}/{verb}/"
    assert path in console.get(f"/admin/clusters/pool/{pool.pk}/change/").content.decode()
    assert console.get(path).status_code == 200
    assert console.post(path, {"reason": " "}).status_code == 400
    assert Pool.objects.filter(**before).exists()
    assert console.post(path, {"reason": "Because"}).status_code == 302
    assert Pool.objects.filter(**after).exists()


def test_buttons_that_would_do_nothing_are_not_there(console: Client, pool: Pool) -> None:
    page = console.get(f"/admin/clusters/pool/{pool.pk}/change/").content.decode()
    assert f"/admin/clusters/pool/{pool.pk}/open/" not in page
    assert f"/admin/clusters/pool/{pool.pk}/close-breaker/" not in page


def test_a_node_is_drained_and_given_back(console: Client, pool: Pool) -> None:
    node = Node.objects.get()
    page = reverse("admin:clusters_node_change", args=[node.pk])
    console.post(f"/admin/clusters/node/{node.pk}/drain/", {"reason": "fan 3 is loud"})
    assert "fan 3 is loud" in console.get(page).content.decode()
    assert console.get(f"/admin/clusters/node/{node.pk}/drain/").status_code == 403
    console.post(f"/admin/clusters/node/{node.pk}/undrain/", {"reason": "the fan is new"})
    assert "fan 3 is loud" not in console.get(page).content.decode()


def test_a_reason_with_a_line_break_is_said_at_the_field(console: Client, pool: Pool) -> None:
    node = Node.objects.get()
    path = f"/admin/clusters/node/{node.pk}/drain/"
    assert "reason" in errors_of(console.post(path, {"reason": "x" * 201}))


def test_the_list_of_nodes_finds_those_that_take_no_work(console: Client, pool: Pool) -> None:
    Node.objects.create(pool=pool, name="well")
    Node.objects.create(pool=pool, name="broken", problem="fan 3")
    page = console.get("/admin/clusters/node/", {"state": "problem"}).content.decode()
    assert "broken" in page
    assert ">well<" not in page


def test_others_change_nothing(
    client_of: Callable[[User], Client], alice: User, cluster: ClusterBackend, pool: Pool
) -> None:
    browser = client_of(alice)
    browser.post(ADD, filled())
    browser.post(f"/admin/clusters/pool/{pool.pk}/close/", {"reason": "mine"})
    browser.post(f"/admin/clusters/node/{Node.objects.get().pk}/drain/", {"reason": "mine"})
    assert Pool.objects.get().is_open
    assert Node.objects.get().drain_reason == ""


def test_what_is_not_there_is_not_found(console: Client, pool: Pool) -> None:
    assert console.get("/admin/clusters/pool/0/settings/").status_code == 404
    assert console.get("/admin/clusters/pool/nothing/settings/").status_code == 404
    assert console.get("/admin/clusters/node/0/drain/").status_code == 404
