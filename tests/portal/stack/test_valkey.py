"""The embedded Valkey."""

from __future__ import annotations

from pathlib import Path

import redis

from portal.stack.valkey import EmbeddedValkey


def test_answers_on_its_socket(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "s") as server, redis.Redis.from_url(server.url) as client:
        client.set("key", "value")
        assert client.get("key") == b"value"


def test_its_socket_is_its_owners_alone(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "s") as server:
        assert server.socket_path.stat().st_mode & 0o077 == 0
        assert server.socket_dir.stat().st_mode & 0o077 == 0


def test_listens_on_no_port(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "s") as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("port") == {"port": "0"}


def test_starts_again_after_a_stop(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "s")
    with server:
        assert server.is_ready()
    assert not server.is_ready()
    with server:
        assert server.is_ready()


def test_queues_are_never_evicted(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "s") as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-ttl"}
