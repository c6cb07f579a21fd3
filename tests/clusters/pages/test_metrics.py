"""What a run writes for TensorBoard, on its page and in the API, and TensorBoard itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient
from tensorboardX import SummaryWriter

from accounts.access import actor_of_user
from accounts.actor import Actor
from accounts.models import User
from clusters.actions.apps import note_ready
from clusters.actions.jobs import launch
from clusters.actions.launch_checks import JobRequest
from clusters.actions.sides import MOST_AT_ONCE, board_of_run, end_side
from clusters.choices import Service
from clusters.models import App, Attempt, Side, Volume, Workload
from clusters.telemetry import scalars
from portal.lib import clock
from tests.clusters.telemetry.test_scalars import event
from tests.conftest import Engine
from tests.fakes.loop import tick
from tests.fakes.notebooks import make_volume, running
from tests.fakes.serving import FolderBackend, NodesBackend

SignIn = Callable[[User], Client]
Write = Callable[..., None]


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> Iterator[None]:
    scalars._known.clear()
    yield
    scalars._known.clear()


@pytest.fixture
def browser(alice: User, engine: Engine, client_of: SignIn) -> Client:
    """Alice's."""
    return client_of(alice)


@pytest.fixture
def job(actor: Actor, engine: Engine) -> Workload:
    """One that runs."""
    made = launch(actor, JobRequest("digits", "a100", 1, "train", 600))
    tick()
    return Workload.objects.get(pk=made.pk)


@pytest.fixture
def write(engine: Engine, tmp_path: Path) -> Write:
    """Let the latest attempt of a run write scalars with tensorboardX into a folder of its home."""

    def work(run: Workload, tag: str, values: list[float], folder: str = "runs/a") -> None:
        home = tmp_path / run.public_id
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with SummaryWriter(str(home / folder)) as writer:
                for step, value in enumerate(values):
                    writer.add_scalar(tag, value, step, walltime=1000 + step)
        attempt = Attempt.objects.filter(workload=run).latest("number")
        files = {str(path.relative_to(home)): path for path in home.rglob("events.*")}
        engine.backend.files[attempt.external_name] = {
            name: path.read_bytes() for name, path in files.items()
        }

    return work


def scalars_on(browser: Client, run: Workload, query: str = "") -> Any:
    response = browser.get(f"/{run.kind}s/{run.public_id}/scalars.json{query}")
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    return response.json()


def in_api(api: APIClient, run: Workload, query: str = "") -> Any:
    response = api.get(f"/api/v1/{run.kind}s/{run.public_id}/scalars{query}")
    assert response.status_code == 200
    return response.json()


def test_what_a_job_writes_is_read_by_its_page_and_the_api(
    browser: Client, api: APIClient, job: Workload, write: Write
) -> None:
    write(job, "loss/train", [1.0, 0.5, 0.25])
    found = in_api(api, job)
    assert found == {
        "attempt": 1,
        "is_whole": True,
        "hidden_series": 0,
        "tags": [
            {
                "tag": "loss/train",
                "series": [
                    {
                        "run": "runs/a",
                        "steps": [0, 1, 2],
                        "times": [1000.0, 1001.0, 1002.0],
                        "values": [1.0, 0.5, 0.25],
                    }
                ],
            }
        ],
    }
    assert scalars_on(browser, job) == found


def test_folders_of_one_tag_are_lines_of_one_chart(
    api: APIClient, job: Workload, write: Write
) -> None:
    write(job, "loss", [1.0], folder="runs/a")
    write(job, "loss", [2.0], folder="runs/b")
    (tag,) = in_api(api, job)["tags"]
    assert [one["run"] for one in tag["series"]] == ["runs/a", "runs/b"]


def test_it_grows_while_the_run_writes(browser: Client, job: Workload, write: Write) -> None:
    write(job, "loss", [1.0])
    assert scalars_on(browser, job)["tags"][0]["series"][0]["steps"] == [0]
    write(job, "accuracy", [0.1, 0.2], folder="runs/b")
    assert [one["tag"] for one in scalars_on(browser, job)["tags"]] == ["accuracy", "loss"]


def test_a_notebook_has_metrics_too(
    browser: Client, api: APIClient, actor: Actor, engine: Engine, write: Write
) -> None:
    notebook = running(actor)
    write(notebook, "loss", [1.0, 0.5])
    assert in_api(api, notebook)["tags"][0]["series"][0]["values"] == [1.0, 0.5]
    assert scalars_on(browser, notebook) == in_api(api, notebook)


def begun(actor: Actor, name: str, volume: Volume) -> Workload:
    """A job with this volume that runs."""
    asked = JobRequest(name, "a100", 1, "train", 600, volume=volume.public_id)
    job = launch(actor, asked)
    tick()
    return Workload.objects.get(pk=job.pk)


@pytest.mark.parametrize("engine_class", [FolderBackend])
def test_what_a_job_writes_into_its_volume_is_read_too_and_no_other_runs(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    volume = make_volume(actor)
    folder = engine.backend.volume_path(volume.public_id) / "runs"
    folder.mkdir(parents=True)
    jobs = [begun(actor, f"job {number}", volume) for number in range(2)]
    for value, job in enumerate(jobs):
        host = Attempt.objects.get(workload=job).external_name
        name = f"events.out.tfevents.{int(clock.now().timestamp())}.{host}.2.0"
        (folder / name).write_bytes(event("loss", 7, simple=float(value)))
    for value, job in enumerate(jobs):
        ((series,),) = [tag["series"] for tag in in_api(api, job)["tags"]]
        assert (series["run"], series["values"]) == ("/workspace/runs", [float(value)])


@pytest.mark.parametrize("engine_class", [FolderBackend])
def test_of_two_notebooks_with_one_volume_each_has_what_it_wrote_while_alone(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    volume = make_volume(actor)
    root = engine.backend.volume_path(volume.public_id)
    root.mkdir(parents=True)

    def write() -> None:
        name = f"events.out.tfevents.{int(clock.now().timestamp())}.fastgpu.2.0"
        (root / name).write_bytes(event("loss", 7, simple=1.0))

    first = running(actor, name="first", volume=volume.public_id)
    write()
    assert len(in_api(api, first)["tags"]) == 1
    second = running(actor, name="second", volume=volume.public_id)
    write()
    scalars._known.clear()
    assert in_api(api, second)["tags"] == []


@pytest.mark.parametrize("engine_class", [NodesBackend])
def test_where_no_host_is_named_by_its_run_one_has_what_was_written_while_it_was_alone(
    api: APIClient, actor: Actor, engine: Engine
) -> None:
    volume = make_volume(actor)
    root = engine.backend.volume_path(volume.public_id)
    root.mkdir(parents=True)

    def write() -> None:
        name = f"events.out.tfevents.{int(clock.now().timestamp())}.fg-node7.2.0"
        (root / name).write_bytes(event("loss", 7, simple=1.0))

    first = begun(actor, "first", volume)
    write()
    assert len(in_api(api, first)["tags"]) == 1
    second = begun(actor, "second", volume)
    write()
    scalars._known.clear()
    assert in_api(api, second)["tags"] == []


@pytest.mark.parametrize("engine_class", [NodesBackend])
@pytest.mark.parametrize(
    ("nodes", "losses"),
    [
        (("gpu1,gpu2", "gpu3"), [[1.0], [3.0]]),
        (("gpu1,gpu2", "gpu2,gpu3"), [[], []]),
        (("gpu1", ""), [[], []]),
        (("gpu1," * 40, "gpu3"), [[], []]),
    ],
    ids=["apart", "one in common", "one unknown", "one cut off"],
)
def test_of_two_at_once_on_a_cluster_each_has_what_its_own_nodes_wrote(
    api: APIClient,
    actor: Actor,
    engine: Engine,
    nodes: tuple[str, str],
    losses: list[list[float]],
) -> None:
    volume = make_volume(actor)
    root = engine.backend.volume_path(volume.public_id)
    root.mkdir(parents=True)
    jobs = [begun(actor, f"job {number}", volume) for number in range(2)]
    for job, names in zip(jobs, nodes, strict=True):
        Attempt.objects.filter(workload=job).update(node=names)
    for number in (1, 3):
        name = f"events.out.tfevents.{int(clock.now().timestamp())}.gpu{number}.2.0"
        (root / name).write_bytes(event("loss", 7, simple=float(number)))
    assert [
        [value for tag in in_api(api, job)["tags"] for value in tag["series"][0]["values"]]
        for job in jobs
    ] == losses


def test_before_it_runs_there_are_none(api: APIClient, actor: Actor, engine: Engine) -> None:
    made = launch(actor, JobRequest("digits", "a100", 1, "train", 600))
    found = in_api(api, Workload.objects.get(pk=made.pk))
    assert (found["tags"], found["is_whole"]) == ([], True)


def test_an_attempt_that_is_not_there_has_none(browser: Client, job: Workload) -> None:
    assert browser.get(f"/jobs/{job.public_id}/scalars.json?attempt=7").status_code == 404
    assert browser.get(f"/jobs/{job.public_id}/scalars.json?attempt=x").status_code == 400


def test_an_engine_that_is_silent_is_said(api: APIClient, job: Workload, engine: Engine) -> None:
    engine.backend.is_down = True
    response = api.get(f"/api/v1/jobs/{job.public_id}/scalars")
    assert response.status_code == 503
    assert "Try again shortly" in response.json()["error"]["message"]


def test_the_page_has_a_tab_with_the_way_into_tensorboard(browser: Client, job: Workload) -> None:
    page = browser.get(f"/jobs/{job.public_id}/").content.decode()
    assert f'data-url="/jobs/{job.public_id}/scalars.json"' in page
    assert f'action="/jobs/{job.public_id}/tensorboard/"' in page


def test_one_click_starts_tensorboard_once(browser: Client, job: Workload) -> None:
    url = f"/jobs/{job.public_id}/tensorboard/"
    first, second = browser.post(url), browser.post(url)
    side = Side.objects.get()
    assert (first.status_code, first["Location"]) == (303, f"/tensorboards/{side.public_id}/")
    assert second["Location"] == first["Location"]
    assert (side.workload, side.created_by.email) == (job, "alice@example.org")
    page = browser.get(first["Location"]).content.decode()
    assert "It starts, and opens here by itself" in page
    assert f'hx-get="/tensorboards/{side.public_id}/"' in page


def served(side: Side) -> str:
    """It answers under this name."""
    name = f"tb-{side.public_id.replace('_', '-')}"
    app = App.objects.create(
        name=name, service=Service.TENSORBOARD, side=side, endpoint={"host": "x", "port": 1}
    )
    note_ready(app.pk)
    return name


def test_its_page_leads_into_it_once_it_answers(
    browser: Client, actor: Actor, job: Workload
) -> None:
    side = board_of_run(actor, job.public_id)
    url, name = f"/tensorboards/{side.public_id}/", served(side)
    part = browser.get(url, headers={"HX-Request": "true"})
    assert part["HX-Redirect"] == f"/open/{name}/"
    # No redirect: the page that follows a form may not lead to another origin.
    page = browser.get(url)
    assert page.status_code == 200
    assert f'content="0;url=/open/{name}/"' in page.content.decode()
    opened = browser.get(f"/open/{name}/")
    assert opened.status_code == 303
    assert f"//{name}." in opened["Location"]
    assert "ticket=" in opened["Location"]


def test_any_member_may_look_and_no_stranger(
    bob: User, charlie: User, actor: Actor, job: Workload, client_of: SignIn
) -> None:
    side = board_of_run(actor, job.public_id)
    name = served(side)
    member, stranger = client_of(bob), client_of(charlie)
    assert member.post(f"/jobs/{job.public_id}/tensorboard/").status_code == 303
    assert member.get(f"/open/{name}/").status_code == 303
    assert stranger.post(f"/jobs/{job.public_id}/tensorboard/").status_code == 404
    assert stranger.get(f"/tensorboards/{side.public_id}/").status_code == 404
    assert stranger.get(f"/open/{name}/").status_code == 404


def test_why_it_could_not_start_is_said_with_a_way_on(
    browser: Client, actor: Actor, job: Workload
) -> None:
    side = board_of_run(actor, job.public_id)
    end_side(side, "There is nothing to show")
    page = browser.get(f"/tensorboards/{side.public_id}/").content.decode()
    assert "There is nothing to show." in page
    assert "Start it again" in page
    assert browser.post(f"/jobs/{job.public_id}/tensorboard/").status_code == 303
    assert Side.objects.filter(ended_at__isnull=True).count() == 1


def test_it_is_closed(browser: Client, actor: Actor, job: Workload) -> None:
    side = board_of_run(actor, job.public_id)
    response = browser.post(f"/tensorboards/{side.public_id}/close/")
    assert (response.status_code, response["Location"]) == (303, f"/jobs/{job.public_id}/#metrics")
    assert Side.objects.get().ended_at is not None
    assert browser.post(f"/tensorboards/{side.public_id}/close/").status_code == 303


def test_too_many_at_once_are_refused_on_the_page(
    alice: User, browser: Client, actor: Actor, engine: Engine, job: Workload
) -> None:
    for n in range(MOST_AT_ONCE):
        one = launch(actor_of_user(alice), JobRequest(f"job {n}", "a100", 1, "train", 600))
        board_of_run(actor, one.public_id)
    response = browser.post(f"/jobs/{job.public_id}/tensorboard/")
    assert response["Location"] == f"/jobs/{job.public_id}/#metrics"
    page = browser.get(response["Location"]).content.decode()
    assert f"{MOST_AT_ONCE} TensorBoards of the team are open." in page


def test_while_it_is_open_the_run_and_its_own_page_offer_to_close_it(
    browser: Client, actor: Actor, job: Workload
) -> None:
    page = f"/jobs/{job.public_id}/"
    assert "Close TensorBoard" not in browser.get(page).content.decode()
    side = board_of_run(actor, job.public_id)
    close = f'action="/tensorboards/{side.public_id}/close/"'
    assert close in browser.get(page).content.decode()
    assert close in browser.get(f"/tensorboards/{side.public_id}/").content.decode()
    browser.post(f"/tensorboards/{side.public_id}/close/")
    assert "Close TensorBoard" not in browser.get(page).content.decode()
