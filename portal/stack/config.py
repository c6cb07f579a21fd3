"""What one `manage.py up` runs with: read from the environment, completed with our own parts."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clusters.proxy.settings import Settings as ProxySettings
from portal.lib.env import BadSetting, env_int, env_path, env_str
from portal.stack.errors import StackError
from portal.stack.keys import load_or_make
from portal.stack.layout import Layout
from portal.stack.ports import loopback_of
from portal.stack.postgres import EmbeddedPostgres, socket_folder
from portal.stack.valkey import EmbeddedValkey

BASE_DIR = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Config:
    """Where the stack lives and listens, before anything of it exists."""

    layout: Layout
    host: str
    port: int
    proxy_port: int
    sandbox_port: int
    own_postgres: bool
    own_valkey: bool
    stripe_sandbox: bool

    @classmethod
    def read(cls) -> Config:
        """Read the environment; raises StackError for a value that makes no sense."""
        try:
            port = env_int("PORT", 8000)
            # Else the proxy alone would not start, again and again.
            ProxySettings.read()
            return cls(
                layout=Layout(env_path("VAR_DIR", BASE_DIR / "var")),
                host=env_str("HOST", "127.0.0.1"),
                port=port,
                proxy_port=env_int("PROXY_PORT", port + 1),
                sandbox_port=env_int("SANDBOX_PORT", port + 2),
                own_postgres=not env_str("DATABASE_URL"),
                own_valkey=not env_str("REDIS_URL"),
                stripe_sandbox=not env_str("STRIPE_SECRET_KEY"),
            )
        except (BadSetting, OSError) as error:
            raise StackError(f"{error}.") from error

    @property
    def loopback(self) -> str:
        """Address at which our own processes reach the portal, ready for a URL."""
        host = loopback_of(self.host)
        return f"[{host}]" if ":" in host else host

    @property
    def portal_url(self) -> str:
        """Where our own processes reach the portal."""
        return f"http://{self.loopback}:{self.port}"

    def ports(self) -> list[tuple[str, int, str]]:
        """Host, port and variable of everything that will listen."""
        wanted = [(self.host, self.port, "PORT"), (self.host, self.proxy_port, "PROXY_PORT")]
        if self.stripe_sandbox:
            wanted.append(("127.0.0.1", self.sandbox_port, "SANDBOX_PORT"))
        return wanted


@dataclass(frozen=True)
class Parts:
    """The embedded services (None: the operator's are used) and what the children are told."""

    config: Config
    postgres: EmbeddedPostgres | None
    valkey: EmbeddedValkey | None
    environment: Mapping[str, str]


def assemble(config: Config) -> Parts:
    """Decide on sockets and keys; writes `secrets.json` the first time."""
    sockets = _socket_root(config.layout)
    postgres = valkey = None
    if config.own_postgres:
        postgres = EmbeddedPostgres(config.layout.postgres, sockets / "pg")
    if config.own_valkey:
        valkey = EmbeddedValkey(sockets / "valkey")
    environment = _environment(config, load_or_make(config.layout.secrets_file))
    if postgres:
        environment["DATABASE_URL"] = postgres.url
    if valkey:
        environment["REDIS_URL"] = valkey.url
    return Parts(config, postgres, valkey, environment)


def _environment(config: Config, keys: dict[str, str]) -> dict[str, str]:
    ours = {
        "SECRET_KEY": keys["secret_key"],
        "FASTGPU_AGENT_TOKEN": keys["agent_token"],
        "FASTGPU_PROXY_TOKEN": keys["proxy_token"],
        "DJANGO_SETTINGS_MODULE": "portal.settings",
    }
    if config.stripe_sandbox:
        ours |= {
            "STRIPE_SECRET_KEY": keys["stripe_secret_key"],
            "STRIPE_WEBHOOK_SECRET": keys["stripe_webhook_secret"],
            "STRIPE_API_BASE": f"http://127.0.0.1:{config.sandbox_port}",
        }
    environment = dict(os.environ)
    for name, value in ours.items():
        # An operator's key, also one in a file, goes before ours.
        if not environment.get(name) and not environment.get(f"{name}_FILE"):
            environment[name] = value
    environment |= {
        "VAR_DIR": str(config.layout.root),
        "HOST": config.host,
        "PORT": str(config.port),
        "PROXY_PORT": str(config.proxy_port),
        "SANDBOX_PORT": str(config.sandbox_port),
        "PYTHONPATH": os.pathsep.join([str(BASE_DIR), str(BASE_DIR / "sdk" / "src")]),
        "PYTHONUNBUFFERED": "1",
        # Many threads with an arena each would double what the workers hold.
        "MALLOC_ARENA_MAX": "2",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }
    # Compiled modules are what makes the second start fast.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _socket_root(layout: Layout) -> Path:
    """`VAR_DIR/run`, or a short private folder where paths of sockets there are too long."""
    digest = hashlib.sha256(os.fsencode(layout.root)).hexdigest()[:12]
    short = Path(tempfile.gettempdir(), f"fastgpu-{os.geteuid()}-{digest}")
    if socket_folder(layout.run / "valkey", short) != short:
        return layout.run
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()
    if short.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise StackError(
            f"The folder {short} is not private to you: remove it, or give VAR_DIR a shorter path."
        )
    return short
