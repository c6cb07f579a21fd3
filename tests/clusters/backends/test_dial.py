"""Connecting to sockets in a folder that hostile code writes."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import uvloop

from clusters.backends.base import Endpoint
from clusters.backends.dial import NotItsSocket, dial
from tests.descriptors import open_below

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ME = os.geteuid()
ANOTHER_UID = 210_007


@contextmanager
def answering(path: Path, words: bytes) -> Iterator[None]:
    """A server at `path` that says `words` as HTTP to whoever connects."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(words), words)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(reply)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Path]:
    """An attempt's folder, in which `lab.sock` answers `the lab`."""
    folder = tmp_path / "serve"
    folder.mkdir(mode=0o700)
    with answering(folder / "lab.sock", b"the lab"):
        yield folder


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    """Another server of this machine, that no attempt may be a way to."""
    with answering(tmp_path / "secret.sock", b"secret"):
        yield tmp_path / "secret.sock"


def endpoint(folder: Path, *, owner: int = ME) -> Endpoint:
    """Where the engine says that the attempt's server is."""
    return Endpoint(socket=str(folder / "lab.sock"), owner_uid=owner)


def said(where: Endpoint) -> str:
    """What is answered there."""
    with dial(where) as path:
        return said_at(path)


def said_at(path: str) -> str:
    """What is answered at a path."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return connection.recv(4096).decode().rpartition("\r\n")[2]


def test_the_attempts_server_is_reached(serve: Path) -> None:
    assert said(endpoint(serve)) == "the lab"


def test_httpx_reaches_it(serve: Path) -> None:
    with dial(endpoint(serve)) as path:
        transport = httpx.HTTPTransport(uds=path)
        with httpx.Client(transport=transport) as client:
            assert client.get("http://lab/").text == "the lab"


def test_a_connection_outlives_the_block(serve: Path) -> None:
    connection = socket.socket(socket.AF_UNIX)
    with connection:
        with dial(endpoint(serve)) as path:
            connection.connect(path)
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(4096).endswith(b"the lab")


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_coroutines_reach_it_on_both_loops(loop: object, serve: Path) -> None:
    async def ask() -> bytes:
        with dial(endpoint(serve)) as path:
            reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        assert runner.run(ask()).endswith(b"the lab")


def test_a_path_too_long_for_a_socket_is_reached(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with ExitStack() as stack:
        with dial_folder(folder) as short:
            stack.enter_context(answering(short / "lab.sock", b"far down"))
        assert said(endpoint(folder)) == "far down"


@contextmanager
def dial_folder(folder: Path) -> Iterator[Path]:
    """A short name of `folder`."""
    fd = os.open(folder, os.O_PATH)
    yield Path(f"/proc/self/fd/{fd}")
    os.close(fd)


def test_where_nothing_is_yet_nothing_is_found(tmp_path: Path) -> None:
    (tmp_path / "serve").mkdir()
    for folder in (tmp_path / "serve", tmp_path / "never-was"):
        with pytest.raises(FileNotFoundError), dial(endpoint(folder)):
            pass


class TestHostile:
    """What an attempt may put in the place of its socket."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        """An attempt's folder with nothing in it."""
        folder = tmp_path / "serve"
        folder.mkdir()
        return folder

    def refused(self, folder: Path, *, owner: int = ME) -> None:
        where = endpoint(folder, owner=owner)
        with pytest.raises(NotItsSocket), dial(where):
            pass

    def test_a_link_to_another_socket(self, place: Path, secret: Path) -> None:
        (place / "lab.sock").symlink_to(secret)
        self.refused(place)

    def test_a_link_into_proc(self, place: Path, secret: Path) -> None:
        held = os.open(secret, os.O_PATH)
        (place / "lab.sock").symlink_to(f"/proc/{os.getpid()}/fd/{held}")
        self.refused(place)
        os.close(held)

    def test_a_plain_file(self, place: Path) -> None:
        (place / "lab.sock").write_text("hello")
        self.refused(place)

    def test_a_fifo(self, place: Path) -> None:
        os.mkfifo(place / "lab.sock")
        self.refused(place)

    def test_a_folder(self, place: Path) -> None:
        (place / "lab.sock").mkdir()
        self.refused(place)

    def test_the_folder_itself_as_a_link(self, tmp_path: Path, secret: Path) -> None:
        secret.rename(tmp_path / "lab.sock")
        (tmp_path / "away").symlink_to(tmp_path)
        self.refused(tmp_path / "away")

    @needs_root
    def test_a_socket_of_another_uid(self, serve: Path) -> None:
        # As by a hard link, where the kernel does not forbid those.
        self.refused(serve, owner=ANOTHER_UID)
        os.chown(serve / "lab.sock", ANOTHER_UID, ANOTHER_UID)
        assert said(endpoint(serve, owner=ANOTHER_UID)) == "the lab"

    def test_any_uid_will_do_where_the_engine_knows_none(self, serve: Path) -> None:
        assert said(endpoint(serve, owner=-1)) == "the lab"

    def test_an_exchange_between_the_look_and_the_use(self, serve: Path, secret: Path) -> None:
        with dial(endpoint(serve)) as path:
            (serve / "lab.sock").unlink()
            (serve / "lab.sock").symlink_to(secret)
            assert said_at(path) == "the lab"

    def test_no_exchange_ever_leads_elsewhere(self, serve: Path, secret: Path) -> None:
        """One process swaps a link and the socket all the time; the other keeps dialling."""
        os.link(serve / "lab.sock", serve / "good")
        swap = (
            "import os, sys; os.chdir(sys.argv[1])\n"
            "while True:\n"
            "  os.symlink(sys.argv[2], 'new'); os.replace('new', 'lab.sock')\n"
            "  os.link('good', 'new'); os.replace('new', 'lab.sock')\n"
        )
        swapper = subprocess.Popen([sys.executable, "-c", swap, str(serve), str(secret)])
        answers: Counter[str] = Counter()
        try:
            while min(answers["the lab"], answers["refused"]) < 300:
                try:
                    answers[said(endpoint(serve))] += 1
                except NotItsSocket:
                    answers["refused"] += 1
        finally:
            swapper.kill()
            swapper.wait()
        assert set(answers) == {"the lab", "refused"}


def test_no_file_stays_open(serve: Path) -> None:
    said(endpoint(serve))
    with dial(endpoint(serve)):
        assert open_below(serve) == [serve / "lab.sock"]
    for name in ("serve", "never-was"):
        with pytest.raises(FileNotFoundError), dial(Endpoint(socket=f"/{name}/x")):
            pass
    with pytest.raises(NotItsSocket), dial(Endpoint(socket="/etc/passwd")):
        pass
    assert open_below(serve, Path("/etc")) == []


def test_it_needs_neither_django_nor_anything_of_ours() -> None:
    code = (
        "import sys; import clusters.backends.dial; "
        "print([m for m in sys.modules if m.split('.')[0] in ('django', 'accounts', 'portal')], "
        "sorted(m for m in sys.modules if m.startswith('clusters')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    ours = ["clusters", "clusters.backends", "clusters.backends.base", "clusters.backends.dial"]
    assert done.stdout == f"[] {ours}\n"
