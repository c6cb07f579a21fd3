"""`manage.py add_pool` does what the console does."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import AuditEvent
from billing.queries.prices import list_prices
from clusters.models import Pool
from portal.lib import clock
from tests.conftest import Engine
from tests.fakes.cluster_backend import ClusterBackend

ARGUMENTS = (
    "--slug=h100", "--name=H100", "--gpu-model=NVIDIA H100", "--price=4.10", "--max-nodes=2",
    "--memory-gib-per-gpu=200", "--environment=system", "--backend=local",
)  # fmt: skip
pytestmark = pytest.mark.parametrize("engine_class", [ClusterBackend])


def add(*arguments: str) -> str:
    out = StringIO()
    call_command("add_pool", *ARGUMENTS, *arguments, stdout=out)
    return out.getvalue()


def test_a_pool_is_added(engine: Engine) -> None:
    assert add("--option", "partition=gpu") == "h100 is saved and open. 4 nodes, 32 GPUs found.\n"
    pool = Pool.objects.get(slug="h100")
    assert pool.options == {"partition": "gpu", "account": "fastgpu"}
    assert (pool.max_nodes_per_workload, pool.memory_bytes_per_gpu) == (2, 200 * 1024**3)
    assert list_prices(at=clock.now())["h100"] == 4_100_000
    assert AuditEvent.objects.get(verb="pool.added").reason == "manage.py add_pool"


def test_an_engine_that_is_away_leaves_it_closed(engine: Engine) -> None:
    engine.backend.is_down = True
    assert "h100 is saved and closed. Fake does not answer" in add("--option", "partition=gpu")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "options.partition: Partition is needed."),
        (["--option", "partition=a b"], "options.partition: 'a b' cannot be used."),
        (["--option", "partition=gpu", "--option", "queue=x"], "options.queue: The engine knows"),
        (["--option", "partition"], "has no =: write NAME=VALUE"),
        (["--option", "partition=gpu", "--price", "much"], "is no number"),
        (["--option", "partition=gpu", "--price", "1e99999999"], "is no number"),
        (["--option", "partition=gpu", "--backend", "nothing"], "backend: The settings hold no"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(
    engine: Engine, arguments: list[str], said: Any
) -> None:
    with pytest.raises(CommandError) as refused:
        add(*arguments)
    assert said in str(refused.value)
    assert Pool.objects.count() == 1
