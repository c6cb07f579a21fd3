"""The agent as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from tests.sdk.places import Worker, place
from tests.sdk.portal import TinyPortal

SOURCES = Path(__file__).parents[2] / "sdk" / "src"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def portal() -> Iterator[TinyPortal]:
    """A portal that answers."""
    made = TinyPortal()
    made.open()
    yield made
    made.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts agents on `tmp_path/attempts` and ends them."""
    agents: list[subprocess.Popen[str]] = []

    def start_one(*arguments: str, token: str = "secret") -> subprocess.Popen[str]:
        folder = str(tmp_path / "attempts")
        environment = os.environ | {"PYTHONPATH": str(SOURCES), "FASTGPU_AGENT_TOKEN": token}
        environment.pop("FASTGPU_AGENT_TOKEN_FILE", None)
        agent = subprocess.Popen(
            [sys.executable, "-m", "fastgpu.agent", "--placements", folder, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd="/",
        )
        agents.append(agent)
        return agent

    yield start_one
    for agent in agents:
        if agent.poll() is None:
            agent.kill()
        agent.communicate()


def test_it_posts_a_beat_on_every_whole_second(
    tmp_path: Path, worker: Worker, portal: TinyPortal, start: Start
) -> None:
    place(tmp_path / "attempts", "fg-a-1", worker)
    start("--portal", portal.url)
    portal.wait(lambda: len(portal.beats) >= 3)
    times = [datetime.fromisoformat(beat["at"]) for beat in portal.beats[:3]]
    assert all(at.microsecond == 0 and at.tzinfo == UTC for at in times)
    assert (times[2] - times[1]).total_seconds() >= 1
    assert portal.beats[0]["gpus"][0]["external_names"] == ["fg-a-1"]
    assert portal.headers[0]["Authorization"] == "Bearer secret"
    assert portal.headers[0]["path"] == "/api/v1/agent/samples"


def test_it_ends_at_once_on_sigterm(portal: TinyPortal, start: Start) -> None:
    agent = start("--portal", portal.url, "--interval", "60")
    portal.wait(lambda: len(portal.beats) == 1)
    agent.terminate()
    assert agent.wait(30) == 0
    assert agent.communicate() == ("", "")


def test_it_stays_small(portal: TinyPortal, start: Start) -> None:
    agent = start("--portal", portal.url)
    portal.wait(lambda: len(portal.beats) >= 2)
    assert psutil.Process(agent.pid).memory_info().rss < 40 * 1024**2


def test_a_portal_that_does_not_know_it_is_said_in_one_sentence(
    portal: TinyPortal, start: Start
) -> None:
    portal.status = 401
    agent = start("--portal", portal.url, "--interval", "0.1")
    portal.wait(lambda: len(portal.beats) >= 3)
    agent.terminate()
    said = agent.communicate(timeout=30)[1].splitlines()
    assert len(said) == 1
    assert "does not know this agent" in said[0]


def test_a_folder_that_cannot_be_read_is_said_once_and_no_zeros_are_sent(
    tmp_path: Path, portal: TinyPortal, start: Start
) -> None:
    (tmp_path / "attempts").write_text("not a folder")
    agent = start("--portal", portal.url, "--interval", "0.1", "--virtual-gpus", "1")
    assert agent.stderr
    assert "nothing can be measured" in agent.stderr.readline()
    (tmp_path / "attempts").unlink()
    portal.wait(lambda: len(portal.beats) >= 1)
    agent.terminate()
    assert agent.communicate(timeout=30)[1] == ""


def test_once_prints_what_it_measured(tmp_path: Path, worker: Worker, start: Start) -> None:
    place(tmp_path / "attempts", "fg-a-1", worker)
    agent = start("--once", "--interval", "0.2", token="")
    document = json.loads(agent.communicate(timeout=20)[0])
    assert document["gpus"][0]["external_names"] == ["fg-a-1"]
    assert document["gpus"][0]["utilization_percent"] is not None


@pytest.mark.parametrize(
    ("arguments", "token", "sentence"),
    [
        (["--portal", "http://127.0.0.1:1"], "", "Set FASTGPU_AGENT_TOKEN"),
        ([], "secret", "Say where the portal is"),
        (["--portal", "nowhere"], "secret", "no address"),
    ],
)
def test_what_it_cannot_start_with_is_one_sentence(
    start: Start, arguments: list[str], token: str, sentence: str
) -> None:
    agent = start(*arguments, token=token)
    said = agent.communicate(timeout=20)[1]
    assert agent.returncode == 1
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_it_stands_without_the_portals_libraries() -> None:
    code = "import fastgpu.agent.cli, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCES)},
    )
    assert not {"django", "rest_framework", "httpx", "rich"} & set(done.stdout.split())
