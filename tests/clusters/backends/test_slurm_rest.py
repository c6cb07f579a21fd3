"""What slurmrestd may answer to a submission, and what it is taken for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from clusters.backends.base import BackendUnavailable, EndReason, LaunchRefused
from clusters.backends.slurm.rest import NotSent, Rest
from clusters.backends.slurm.settings import SlurmSettings
from tests.fakes.http import Answering

Submit = Callable[[int, bytes], str]


def errors(number: int, words: str) -> bytes:
    return json.dumps({"errors": [{"error_number": number, "error": words}], "job_id": 0}).encode()


@pytest.fixture
def submit(tmp_path: Path) -> Iterator[Submit]:
    """Submits to a slurmrestd that answers with this status and body."""
    answer: list[tuple[int, bytes]] = []

    class Handler(Answering):
        def answer(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.say(*answer[-1])

    key = tmp_path / "jwt.key"
    key.write_bytes(b"k" * 32)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        rest = Rest(SlurmSettings(root=tmp_path, rest_url=url, jwt_key=key))

        def ask(status: int, body: bytes) -> str:
            answer.append((status, body))
            return rest.submit("fg-team7", b"#!/bin/bash\n", {})

        yield ask
        server.shutdown()
        thread.join()


def test_a_500_with_the_number_of_a_no_is_a_refusal_with_advice(submit: Submit) -> None:
    with pytest.raises(LaunchRefused, match="pool's option partition") as refusal:
        submit(500, errors(2000, "Invalid partition name specified"))
    assert refusal.value.reason is EndReason.START_FAILED


@pytest.mark.parametrize(
    "body",
    [
        errors(1007, "Unable to contact slurm controller (connect failure)"),
        b"<html>Internal Server Error</html>",
        b"[]",
        b'{"errors": [], "job_id": 0}',
    ],
    ids=["no controller", "no JSON", "no object", "neither job nor error"],
)
def test_a_500_that_does_not_say_no_leaves_the_outcome_unknown(submit: Submit, body: bytes) -> None:
    with pytest.raises(BackendUnavailable):
        submit(500, body)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_never_reached_slurm_may_be_tried_another_way(submit: Submit, status: int) -> None:
    with pytest.raises(NotSent):
        submit(status, b"")


def test_a_job_with_a_warning_is_a_job(submit: Submit) -> None:
    body = json.loads(errors(2016, "Requested node configuration is not available now"))
    assert submit(200, json.dumps(body | {"job_id": 42}).encode()) == "42"
