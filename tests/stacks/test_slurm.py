"""A whole FastGPU on a real Slurm: from the API to jobs on its nodes and back."""

from __future__ import annotations

import base64
import secrets
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tensorboardX import SummaryWriter

from tests.slurm.lab import SlurmLab
from tests.stacks.developer import Developer, ask_database, check_cost, until
from tests.stacks.environments import LOCKS, OURS, prepared
from tests.stacks.portal import Stack, running
from tests.stacks.visitor import visitor

pytestmark = [pytest.mark.stack, pytest.mark.slurm]
POOL = (
    "--slug=slurm", "--name=A100 on Slurm", "--backend=slurm", "--gpu-model=NVIDIA A100",
    "--price=0.21", "--option=partition=gpu", "--option=gpu_type=a100", "--max-gpus=32",
    "--max-nodes=4", "--memory-gib-per-gpu=2", "--cores-per-gpu=4", "--grace-seconds=2",
    "--environment=system", "--environment=pytorch", "--environment=lab",
)  # fmt: skip


@pytest.fixture(scope="module")
def stack(slurm_lab: SlurmLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A FastGPU with a pool on the lab's Slurm, added as an operator would."""
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "environments").mkdir()
    for name, locks in {"pytorch": LOCKS, "lab": LOCKS, "tools": OURS}.items():
        (folder / "environments" / name).symlink_to(prepared(name, locks) / name)
    settings = slurm_lab.env | {"SLURM_ENVIRONMENTS": str(folder / "environments")}
    with running(folder / "var", settings) as started:
        ((team,),) = ask_database(started, "SELECT id FROM accounts_team")
        slurm_lab.add_user(team)
        started.manage("add_pool", *POOL)
        yield started


@pytest.fixture
def developer(stack: Stack) -> Iterator[Developer]:
    """The demo's owner."""
    with Developer(stack) as somebody:
        yield somebody


def launch(developer: Developer, command: str, **more: Any) -> str:
    """Launch in the Slurm pool."""
    return developer.launch(command, **({"pool": "slurm", "environment": "system"} | more))


def volume_of(developer: Developer) -> str:
    """A volume on the cluster, there by now."""
    asked = {"name": secrets.token_hex(4), "size_gib": 1, "pool": "slurm"}
    volume: str = developer.http.post("/volumes", json=asked).json()["id"]
    until(lambda: developer.http.get(f"/volumes/{volume}").json()["measured_at"])
    return volume


def test_a_job_runs_as_the_teams_own_user_and_is_billed(
    developer: Developer, slurm_lab: SlurmLab
) -> None:
    began = time.monotonic()
    job = developer.ended(launch(developer, 'echo "$(id -un) $CUDA_VISIBLE_DEVICES"; sleep 2'))
    took = time.monotonic() - began
    assert job["status"] == "succeeded"
    user, devices = developer.log(job["id"]).split()
    assert user.startswith(slurm_lab.user_template.split("{")[0])
    assert devices.isdigit()
    # Slurm counts whole seconds.
    assert 1.5 <= job["billed_seconds"] <= took + 1
    check_cost(job)


def test_an_error_of_the_command_fails_with_its_code(developer: Developer) -> None:
    job = developer.ended(launch(developer, "echo before; exit 7"))
    assert (job["status"], job["attempts"][0]["exit_code"]) == ("failed", 7)
    assert developer.log(job["id"]) == "before\n"


def test_what_does_not_fit_waits_with_a_reason_and_leaves_the_queue_at_once(
    developer: Developer,
) -> None:
    large = launch(developer, "sleep 60", gpus=32, nodes=4)
    until(lambda: developer.job(large)["status"] == "running")
    waiting = launch(developer, "true", gpus=8)

    def is_told_why() -> bool:
        # Slurm's first word may be that it has not come to it yet.
        seen = developer.job(waiting)
        return bool(seen["detail"]) and seen["reason"] == "waiting_for_gpus"

    until(is_told_why)
    assert developer.job(waiting)["status"] == "queued"
    for job in (waiting, large):
        assert developer.http.post(f"/jobs/{job}/cancel").status_code == 200
    assert developer.ended(waiting)["reason"] == "cancelled_in_queue"
    assert developer.ended(large)["reason"] == "stopped"
    assert developer.job(waiting)["cost_micros"] == 0


def test_a_controller_that_is_away_makes_nothing_fail(
    developer: Developer, slurm_lab: SlurmLab
) -> None:
    runs = launch(developer, "echo begun; sleep 8; echo ended")
    until(lambda: developer.job(runs)["status"] == "running")
    slurm_lab.wait_until_saved()
    slurm_lab.kill_controller()
    until(lambda: developer.job(runs)["is_unknown"])
    comes = launch(developer, "echo later")
    assert developer.job(runs)["status"] == "running"
    slurm_lab.start_controller()
    assert developer.ended(runs)["status"] == "succeeded"
    assert developer.ended(comes)["status"] == "succeeded"
    assert developer.log(runs) == "begun\nended\n"


@pytest.mark.timeout(420)
def test_training_across_nodes_survives_the_loss_of_one(
    developer: Developer, slurm_lab: SlurmLab, stack: Stack
) -> None:
    script = (LOCKS / "ddp.py").read_text()
    # Nodes share the folder: each has a file of its own.
    file = "ddp$NODE_RANK.py"
    command = f"cat > {file} <<'END'\n{script}END\nexec torchrun {file} 120 0.25\n"
    job = launch(
        developer,
        command,
        gpus=2,
        nodes=2,
        environment="pytorch",
        env={"OMP_NUM_THREADS": "1"},
        time_limit_seconds=900,
    )
    until(lambda: "step 8 loss" in developer.log(job), seconds=120)
    nodes = developer.job(job)["attempts"][0]["node"].split(",")
    assert len(set(nodes)) == 2
    lost = slurm_lab.node_names.index(nodes[1]) + 1
    slurm_lab.kill_node(lost)
    try:
        ended = developer.ended(job, seconds=240)
    finally:
        slurm_lab.start_node(lost)
    assert ended["status"] == "succeeded", ended
    first, second = ended["attempts"]
    assert (first["reason"], second["reason"]) == ("node_lost", "completed")
    assert nodes[1] not in second["node"].split(",")
    check_training(developer.log(job), world=2)
    billed = ask_database(
        stack,
        "SELECT resource_attempt, ended_at IS NOT NULL FROM billing_usageinterval"
        " WHERE resource_public_id = %s ORDER BY 1",
        job,
    )
    assert billed == [(1, True), (2, True)]


@pytest.mark.timeout(300)
def test_a_notebook_on_two_gpus_opens_and_its_volume_outlives_it(developer: Developer) -> None:
    volume = volume_of(developer)
    body = {"name": "on slurm", "pool": "slurm", "gpus": 2, "environment": "lab", "volume": volume}
    made = developer.http.post("/notebooks", json=body)
    assert made.status_code == 201, made.text
    path = f"/notebooks/{made.json()['id']}"
    until(lambda: developer.http.get(path).json()["is_ready"], seconds=120)
    grant = developer.http.post(f"{path}/access").json()
    where = urlsplit(grant["url"])
    origin = f"http://127.0.0.1:{where.port}"

    def status(method: str, path: str, token: str, **content: str) -> int:
        headers = {"Host": where.netloc, "Authorization": f"token {token}"}
        body = content or None
        return httpx.request(method, origin + path, json=body, headers=headers).status_code

    assert status("GET", "/api/status", grant["token"]) == 200
    assert status("GET", "/api/status", "fgn_" + "x" * 32) in {401, 403}
    note = {"type": "file", "format": "text", "content": "kept"}
    assert status("PUT", "/api/contents/note.txt", grant["token"], **note) == 201
    developer.http.post(f"{path}/stop")
    until(lambda: developer.http.get(path).json()["status"] == "stopped")
    kept = developer.http.get(f"/volumes/{volume}/files/note.txt")
    assert (kept.status_code, kept.text) == (200, "kept")
    assert status("GET", "/api/status", grant["token"]) != 200


@pytest.mark.timeout(300)
def test_what_a_job_writes_for_tensorboard_is_drawn_and_shown(
    stack: Stack, developer: Developer, tmp_path: Path
) -> None:
    volume = volume_of(developer)
    folders = ("~/runs/in-home", "runs/in-volume")
    writes = "; ".join(writes_curve(tmp_path, folder) for folder in folders)
    job = launch(developer, f"umask 077; {writes}", volume=volume)
    assert developer.ended(job)["status"] == "succeeded", developer.log(job)
    tags = developer.http.get(f"/jobs/{job}/scalars").json()["tags"]
    drawn = {(tag["tag"], series["run"]) for tag in tags for series in tag["series"]}
    assert drawn == {("loss", "runs/in-home"), ("loss", "/workspace/runs/in-volume")}
    with visitor(stack) as somebody:
        board = board_behind(f"/jobs/{job}/tensorboard/", somebody, developer)
        both = {"home/runs/in-home", "workspace/runs/in-volume"}
        until(lambda: runs_shown(board, somebody) == both)
        button = f"/volumes/{volume}/tensorboard/"
        board = board_behind(button, somebody, developer, folder="runs")
        until(lambda: runs_shown(board, somebody) == {"in-volume"})


def writes_curve(tmp_path: Path, folder: str) -> str:
    """A command that puts what a writer for TensorBoard wrote into a folder, as one there would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tensorboardX's own, of NumPy
        with SummaryWriter(str(tmp_path / folder)) as writer:
            for step in range(20):
                writer.add_scalar("loss", 1 / (1 + step), step)
    (written,) = (tmp_path / folder).iterdir()
    text = base64.b64encode(written.read_bytes()).decode()
    name = "events.out.tfevents.$(date +%s).$(hostname)"
    return f'mkdir -p {folder}; base64 -d > {folder}/{name} <<< "{text}"'


def board_behind(
    button: str, somebody: httpx.Client, developer: Developer, **form: str
) -> httpx.URL:
    """Where the TensorBoard opens that a button starts, once it has."""
    headers = {"X-CSRFToken": somebody.cookies["csrftoken"]}
    side = somebody.post(button, data=form, headers=headers).url.path.split("/")[2]

    def is_ready() -> bool:
        seen = developer.http.get(f"/tensorboards/{side}").json()
        assert not seen["detail"], seen
        return bool(seen["is_ready"])

    until(is_ready, seconds=120)
    page = somebody.get(f"/open/tb-{side.replace('_', '-')}/")
    assert "TensorBoard" in page.text
    return page.url


def runs_shown(board: httpx.URL, somebody: httpx.Client) -> set[str]:
    """The runs of which it has a loss."""
    answer = somebody.get(board.join("/data/plugin/scalars/tags"))
    assert answer.status_code == 200, answer.text
    return {run for run, tags in answer.json().items() if "loss" in tags}


def test_a_job_has_a_terminal_that_ends_with_it(stack: Stack, developer: Developer) -> None:
    job = launch(developer, "sleep 300")
    until(lambda: developer.job(job)["status"] == "running")
    opened = developer.http.post(f"/jobs/{job}/terminal")
    assert opened.status_code == 201, opened.text
    question = "SELECT state FROM clusters_app WHERE name = %s ORDER BY id DESC LIMIT 1"
    name = f"term-{job.replace('_', '-')}"
    until(lambda: ask_database(stack, question, name) == [("ready",)])
    developer.http.post(f"/jobs/{job}/cancel")
    until(lambda: ask_database(stack, question, name) == [("closed",)])


def check_training(log: str, *, world: int) -> None:
    """The second attempt began where a checkpoint stood, and the loss fell."""
    lines = [line.split(": ", 1)[-1] if ": " in line else line for line in log.splitlines()]
    begins = [line for line in lines if line.startswith("rank ")]
    assert len(begins) == world, log[:2000]
    steps = {int(line.rsplit(" ", 1)[1]) for line in begins}
    assert len(steps) == 1
    assert steps.pop() >= 8
    losses = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("step ")]
    assert losses[-1] < 0.05
