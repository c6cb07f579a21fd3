"""A proxy over the suite's database, and rows in it that are there for a whole module.

The proxy is a process of its own, so what it shall see is committed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, DummyCookieJar
from django.core.management import call_command
from django.db import connection

from tests.clusters.proxy.desk import Desk, server_in_thread
from tests.clusters.proxy.lab import Lab, Place, endpoint_at
from tests.clusters.proxy.process import Proxy, running, wait_for
from tests.clusters.proxy.rows import Ground, make_ground, serve, sign_in
from tests.clusters.proxy.servers import good_server, hostile_server


@pytest.fixture(scope="module")
def transactional_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The suite's database for a whole module, which may commit; emptied after it."""
    with django_db_blocker.unblock():
        yield
        call_command("flush", verbosity=0, interactive=False, allow_cascade=False)


@pytest.fixture(scope="module")
def database_url(transactional_db: None) -> str:
    """The suite's database, for another process."""
    found: dict[str, Any] = connection.get_connection_params()
    words = [
        f"{key}='{found[key]}'" for key in ("user", "password", "host", "port") if found.get(key)
    ]
    return " ".join([f"dbname='{connection.settings_dict['NAME']}'", *words])


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Proxy]:
    """One for the module."""
    folder: Path = tmp_path_factory.mktemp("proxy")
    with running(folder / "log", database_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def ground(transactional_db: None) -> Ground:
    """People and a pool, for the module."""
    return make_ground()


@pytest.fixture(scope="module")
def places(
    proxy: Proxy, ground: Ground, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Place, Place, Place]:
    """Three apps, ready as far as is known: one behaves, one does not, one went."""
    folder: Path = tmp_path_factory.mktemp("sockets")
    made = []
    for name in ("good", "bad", "gone"):
        app = serve(ground, endpoint_at(folder / name))
        made.append(Place(app.name, folder / name, sign_in(app, ground.alice)))
    wait_for(lambda: proxy.health()["routes"] == 3)
    return made[0], made[1], made[2]


@pytest.fixture
async def lab(proxy: Proxy, places: tuple[Place, Place, Place]) -> AsyncIterator[Lab]:
    """Both servers, and a browser that is signed in."""
    good, bad, gone = places
    async with (
        good_server(good.socket) as seen,
        hostile_server(bad.socket) as sent,
        ClientSession(cookie_jar=DummyCookieJar(), auto_decompress=False) as client,
    ):
        lab = Lab(proxy, good, bad, gone, client, seen, sent)
        client.headers.update(lab.headers(good))
        yield lab


@pytest.fixture(scope="module")
def desk(proxy: Proxy, ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """For tests that change rows."""
    socket: Path = tmp_path_factory.mktemp("sockets") / "good"
    with server_in_thread(socket) as seen:
        yield Desk(proxy, ground, socket, seen)
