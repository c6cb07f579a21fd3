"""The Docker API as attempts use it, against an engine that does what a test says."""

from __future__ import annotations

import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clusters.backends.local.oci import OciError, OciService
from tests.fakes.http import Answering

LABELS = {"fastgpu": "one"}


class Engine:
    """Has one container, or none; refuses to remove it as often as `refusals` says."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.labels: dict[str, str] | None = dict(LABELS)
        self.refusals = 0
        self.asked: list[str] = []
        outer = self

        class Handler(Answering):
            def answer(self) -> None:
                if self.command == "DELETE":
                    self.remove()
                elif outer.labels is None:
                    self.say_document(404, {"message": "no such container"})
                else:
                    self.say_document(200, {"Config": {"Labels": outer.labels}})

            def remove(self) -> None:
                outer.asked.append(self.path)
                if len(outer.asked) <= outer.refusals:
                    self.say_document(500, {"message": "container not running"})
                else:
                    outer.labels = None
                    self.say(204, b"")

        self.server = socketserver.ThreadingUnixStreamServer(str(socket), Handler)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """For the length of the block."""
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()


@pytest.fixture
def engine() -> Iterator[Engine]:
    """It answers on a socket with a short path."""
    with tempfile.TemporaryDirectory(prefix="fge-") as folder:
        engine = Engine(Path(folder) / "s")
        with engine.answering():
            yield engine


@pytest.fixture
def service(engine: Engine) -> OciService:
    """As a supervisor has it."""
    return OciService(str(engine.socket), timeout=20)


def test_one_whose_end_the_engine_has_not_heard_of_is_removed_once_it_has(
    engine: Engine, service: OciService
) -> None:
    engine.refusals = 3
    service.remove("fg-a-1", LABELS, within_seconds=20)
    assert engine.labels is None


def test_a_refusal_is_raised_at_once_where_nobody_may_wait(
    engine: Engine, service: OciService
) -> None:
    engine.refusals = 1
    with pytest.raises(OciError, match="container not running"):
        service.remove("fg-a-1", LABELS)
    assert len(engine.asked) == 1


def test_one_that_is_gone_is_as_good_as_removed(engine: Engine, service: OciService) -> None:
    engine.labels = None
    service.remove("fg-a-1", LABELS)
    assert engine.asked == []


def test_one_that_is_not_ours_is_left_alone(engine: Engine, service: OciService) -> None:
    engine.labels = {"fastgpu": "another"}
    service.remove("fg-a-1", LABELS, within_seconds=20)
    assert engine.asked == []
