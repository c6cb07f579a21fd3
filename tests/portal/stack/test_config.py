"""What the children are told, and what goes before it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from portal.stack import services
from portal.stack.config import Config, assemble
from portal.stack.errors import StackError
from portal.stack.layout import Layout

_NAMES = (
    "DATABASE_URL",
    "REDIS_URL",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "STRIPE_API_BASE",
    "SECRET_KEY",
    "FASTGPU_AGENT_TOKEN",
    "PORT",
    "PROXY_PORT",
    "APPS_URL",
    "HOST",
)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in _NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VAR_DIR", str(tmp_path))
    Layout(tmp_path).create()


def test_everything_embedded_by_default(tmp_path: Path) -> None:
    parts = assemble(Config.read())
    keys = json.loads((tmp_path / "secrets.json").read_text(encoding="utf-8"))
    assert parts.postgres is not None
    assert parts.valkey is not None
    assert parts.environment["DATABASE_URL"] == parts.postgres.url
    assert parts.environment["REDIS_URL"] == parts.valkey.url
    assert parts.environment["SECRET_KEY"] == keys["secret_key"]
    assert parts.environment["STRIPE_API_BASE"] == "http://127.0.0.1:8002"


def test_an_operators_stores_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/fastgpu")
    monkeypatch.setenv("REDIS_URL", "redis://queue/0")
    parts = assemble(Config.read())
    assert services.stores(parts) == []
    assert parts.environment["DATABASE_URL"] == "postgresql://db/fastgpu"
    assert parts.environment["REDIS_URL"] == "redis://queue/0"


def test_real_stripe_keys_leave_the_sandbox_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", "sk_test_of_the_operator")
    parts = assemble(Config.read())
    names = [child.name for child in services.servers(parts, after_setup=False)]
    assert services.SANDBOX not in names
    assert "STRIPE_API_BASE" not in parts.environment


def test_an_operators_key_in_a_file_goes_before_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))
    assert "SECRET_KEY" not in assemble(Config.read()).environment


def test_the_first_start_migrates_before_the_servers() -> None:
    parts = assemble(Config.read())
    servers = services.servers(parts, after_setup=True)
    assert all(
        services.SETUP in child.after for child in servers if services.POSTGRES in child.after
    )


def test_a_later_start_seeds_when_the_servers_are_up() -> None:
    parts = assemble(Config.read())
    setup, *_ = services.steps(parts, migrate=False, environments=False)
    assert services.WEB in setup.after
    assert "--migrate" not in setup.command


def test_sockets_of_a_long_data_folder_lie_in_a_short_private_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 80)
    monkeypatch.setenv("VAR_DIR", str(long))
    Layout(long).create()
    parts = assemble(Config.read())
    assert parts.valkey is not None
    folder = parts.valkey.socket_dir.parent
    assert long not in folder.parents
    assert folder.stat().st_mode & 0o077 == 0
    folder.rmdir()


def test_a_number_that_is_none_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "many")
    with pytest.raises(StackError, match="PORT must be a whole number"):
        Config.read()


def test_the_proxy_is_a_process_of_its_own_without_the_web_server() -> None:
    parts = assemble(Config.read())
    servers = {child.name: child for child in services.servers(parts, after_setup=False)}
    assert servers[services.PROXY].command[-2:] == ("-m", "clusters.proxy")
    assert services.WEB not in servers[services.PROXY].after
    assert parts.environment["PROXY_PORT"] == "8001"
