"""Uploads as a server takes them: as they come, once, and nothing of what is cut off."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from django.test import Client

from accounts.access import actor_of_user
from accounts.actions.teams import create_api_key, revoke_api_key
from accounts.actor import Actor
from accounts.models import ApiKey, Membership, Team, User
from clusters.models import Volume
from portal.transfers import is_streamed
from tests.clusters.files.conftest import names_in
from tests.clusters.volumes.conftest import GIB, MIB
from tests.contracts.backend import wait_for
from tests.fakes.portal import serving

pytestmark = pytest.mark.django_db(transaction=True)
MOST_MEMORY = 20 * MIB


@pytest.fixture
def url() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def key(actor: Actor) -> str:
    return create_api_key(actor, name="uploads")[1]


@pytest.fixture
def web(url: str, key: str) -> Iterator[httpx.Client]:
    """Alice's client of the API."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{url}/api/v1/volumes/", headers=headers, timeout=60) as client:
        yield client


def used(volume: Volume) -> int:
    volume.refresh_from_db()
    return volume.used_bytes


def begin(url: str, path: str, key: str, *, length: int, body: bytes) -> socket.socket:
    """Send the head of an upload and the first bytes of it."""
    place = urlsplit(url)
    connection = socket.create_connection((place.hostname or "", place.port or 0))
    head = (
        f"PUT /api/v1/volumes/{path} HTTP/1.1\r\nHost: {place.netloc}\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def test_it_arrives(web: httpx.Client, volume: Volume, root: Path) -> None:
    data = os.urandom(5 * MIB)
    answer = web.put(f"{volume.public_id}/files/model.bin", content=data)
    assert answer.status_code == 201
    assert answer.json()["size_bytes"] == len(data)
    assert (root / "model.bin").read_bytes() == data
    assert answer.headers["X-Request-Id"]
    assert "Content-Security-Policy" in answer.headers


def test_nobody_need_say_how_long_it_is(web: httpx.Client, volume: Volume, root: Path) -> None:
    answer = web.put(f"{volume.public_id}/files/a", content=iter([b"x" * MIB] * 5))
    assert answer.status_code == 201
    assert (root / "a").stat().st_size == 5 * MIB
    assert used(volume) == 5 * MIB


def test_it_ends_where_the_volume_is_full(web: httpx.Client, volume: Volume, root: Path) -> None:
    Volume.objects.update(used_bytes=10 * GIB - 100 * MIB)
    answer = web.put(f"{volume.public_id}/files/a", content=iter([bytes(MIB)] * 150))
    assert answer.status_code == 413
    assert names_in(root) == []
    assert used(volume) == 10 * GIB - 100 * MIB


@pytest.mark.timeout(120)
def test_two_gigabytes_take_little_memory_and_are_written_once(
    url: str, key: str, volume: Volume, root: Path
) -> None:
    send(url, f"{volume.public_id}/files/first", key, MIB * 64)
    process = psutil.Process()
    before = process.memory_info().rss
    written = process.io_counters().write_bytes
    with Peak(process) as peak:
        began = time.monotonic()
        send(url, f"{volume.public_id}/files/large", key, 2 * GIB)
        took = time.monotonic() - began
    print(f"2 GiB in {took:.1f} s, {(peak.most - before) / MIB:.1f} MiB")
    assert (root / "large").stat().st_size == 2 * GIB
    assert peak.most - before < MOST_MEMORY
    assert process.io_counters().write_bytes - written < 2.2 * GIB
    assert not peak.spooled


class Peak:
    """The most memory a process had, and whether it kept a large file of no name."""

    def __init__(self, process: psutil.Process) -> None:
        self.most, self.spooled = 0, False
        self._process, self._is_over = process, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(0.05):
            self.most = max(self.most, self._process.memory_info().rss)
            for link in Path("/proc/self/fd").iterdir():
                try:
                    is_nameless = "(deleted)" in str(link.readlink())
                    self.spooled |= is_nameless and link.stat().st_size > MIB
                except OSError:
                    continue


SENDER = """
import http.client
import sys
host, path, key, size = sys.argv[1:4] + [int(sys.argv[4])]
def zeros(left, piece=bytes(1024 * 1024)):
    while left > 0:
        yield piece[:min(left, len(piece))]
        left -= len(piece)
connection = http.client.HTTPConnection(host, timeout=100)
head = {"Authorization": "Bearer " + key, "Content-Length": str(size)}
connection.request("PUT", path, zeros(size), head)
sys.exit(0 if connection.getresponse().status == 201 else 1)
"""


def send(url: str, path: str, key: str, size: int) -> None:
    """Send zeros from a process of its own, whose memory is not ours."""
    place = f"/api/v1/volumes/{path}"
    arguments = [urlsplit(url).netloc, place, key, str(size)]
    subprocess.run([sys.executable, "-c", SENDER, *arguments], check=True)


def test_cut_off_it_leaves_nothing(url: str, key: str, volume: Volume, root: Path) -> None:
    where = f"{volume.public_id}/files/a"
    connection = begin(url, where, key, length=100 * MIB, body=bytes(3 * MIB))
    wait_for(lambda: [path for path in root.iterdir() if path.stat().st_size == 100 * MIB])
    assert used(volume) == 100 * MIB
    connection.close()
    wait_for(lambda: not names_in(root))
    wait_for(lambda: used(volume) == 0)


def test_who_may_not_is_told_before_anything_is_sent(
    url: str, charlie: User, volume: Volume, root: Path
) -> None:
    stranger = create_api_key(actor_of_user(charlie), name="x")[1]
    for key, status in (("nonsense", b"401"), (stranger, b"404")):
        connection = begin(url, f"{volume.public_id}/files/a", key, length=GIB, body=b"")
        assert connection.recv(1000).startswith(b"HTTP/1.1 " + status)
        connection.close()
    assert names_in(root) == []


def test_what_is_too_large_is_told_before_it_is_sent(
    url: str, key: str, volume: Volume, root: Path
) -> None:
    connection = begin(url, f"{volume.public_id}/files/a", key, length=11 * GIB, body=b"")
    assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
    connection.close()


@pytest.mark.parametrize("loss", ["key", "place"])
def test_who_loses_the_right_meanwhile_leaves_nothing(
    url: str, key: str, alice: User, volume: Volume, root: Path, loss: str
) -> None:
    where = f"{volume.public_id}/files/a"
    connection = begin(url, where, key, length=2 * MIB, body=bytes(MIB))
    wait_for(lambda: names_in(root))
    if loss == "key":
        revoke_api_key(actor_of_user(alice), ApiKey.objects.get(name="uploads").public_id)
    else:
        Membership.objects.filter(user=alice).delete()
    connection.sendall(bytes(MIB))
    assert connection.recv(1000).startswith(b"HTTP/1.1 403 ")
    connection.close()
    assert names_in(root) == []


def test_a_volume_removed_meanwhile_takes_nothing(
    url: str, key: str, volume: Volume, root: Path
) -> None:
    connection = begin(url, f"{volume.public_id}/files/a", key, length=2 * MIB, body=bytes(MIB))
    wait_for(lambda: names_in(root))
    Volume.objects.update(removed_at=volume.created_at)
    connection.sendall(bytes(MIB))
    assert connection.recv(1000).startswith(b"HTTP/1.1 404 ")
    connection.close()
    assert names_in(root) == []


def test_many_come_at_once(web: httpx.Client, volume: Volume, root: Path) -> None:
    data = {f"{number}": os.urandom(MIB) for number in range(20)}

    def one(name: str) -> None:
        assert web.put(f"{volume.public_id}/files/d/{name}?parents=true", content=data[name])

    threads = [threading.Thread(target=one, args=(name,)) for name in data]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name: path.read_bytes() for path in (root / "d").iterdir()} == data
    assert used(volume) == 20 * MIB


def test_waiting_uploads_hold_up_nobody(
    url: str, key: str, web: httpx.Client, volume: Volume
) -> None:
    waiting = [
        begin(url, f"{volume.public_id}/files/{number}", key, length=MIB, body=b"x")
        for number in range(40)
    ]
    assert web.get(volume.public_id).status_code == 200
    for connection in waiting:
        connection.close()


def test_a_download_reaches_the_client_in_part_and_in_whole(
    web: httpx.Client, volume: Volume, root: Path
) -> None:
    data = os.urandom(3 * MIB)
    (root / "a").write_bytes(data)
    where = f"{volume.public_id}/files/a"
    assert web.get(where).content == data
    part = web.get(where, headers={"Range": "bytes=1000000-2000000"})
    assert (part.status_code, part.content) == (206, data[1_000_000:2_000_001])


def test_a_zip_reaches_the_client(web: httpx.Client, volume: Volume, root: Path) -> None:
    import io
    import zipfile

    (root / "a").write_bytes(os.urandom(MIB))
    archive = zipfile.ZipFile(io.BytesIO(web.get(f"{volume.public_id}/archive").content))
    assert archive.read("a") == (root / "a").read_bytes()


def test_only_bodies_of_files_are_streamed() -> None:
    def scope(method: str, path: str) -> dict[str, str]:
        return {"method": method, "path": path}

    assert is_streamed(scope("PUT", "/api/v1/volumes/vol_1/files/a/b"))
    assert is_streamed(scope("PUT", "/api/v1/volumes/vol_1/archive/a"))
    assert is_streamed(scope("PUT", "/volumes/vol_1/files/a/b"))
    assert not is_streamed(scope("POST", "/api/v1/volumes/vol_1/files/a/b"))
    assert not is_streamed(scope("PUT", "/api/v1/billing/budgets"))
    assert not is_streamed(scope("PUT", "/nowhere"))


# --- from a page ---


@pytest.fixture
def browser(
    url: str, alice: User, team: Team, client_of: Callable[[User], Client]
) -> Iterator[httpx.Client]:
    """Alice's browser, which has seen a page."""
    signed_in = client_of(alice)
    signed_in.get("/volumes/")
    cookies = {name: cookie.value for name, cookie in signed_in.cookies.items()}
    with httpx.Client(base_url=url, cookies=cookies, timeout=60) as client:
        yield client


def test_a_page_sends_its_token_or_nothing(
    browser: httpx.Client, volume: Volume, root: Path
) -> None:
    where = f"/volumes/{volume.public_id}/files/a"
    token = {"X-CSRFToken": browser.cookies["csrftoken"]}
    assert browser.put(where, content=b"x").status_code == 403
    assert browser.put(where, content=b"x", headers=token).status_code == 201
    assert names_in(root) == ["a"]


def test_who_is_not_signed_in_sends_nothing(url: str, volume: Volume, root: Path) -> None:
    with httpx.Client(base_url=url) as nobody:
        answer = nobody.put(f"/volumes/{volume.public_id}/files/a", content=b"x")
    assert answer.status_code in {302, 403}
    assert names_in(root) == []
