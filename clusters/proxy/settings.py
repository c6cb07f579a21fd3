"""What the proxy runs with: the portal's own environment variables, with the same defaults."""

from __future__ import annotations

import re
import resource
from dataclasses import dataclass

from portal.lib.env import BadSetting, env_bool, env_int, env_str

# Of all the files it may open: a request takes one for its client and one for its workload.
_CLIENTS_SHARE = 0.45
_APP_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Settings:
    """Where it listens, what it asks, how much it lets in at once.

    `apps_url` has `{name}` in it, an app's own host name. `connections` may be open to it at once,
    `app_connections` of them at one app.
    """

    database_url: str
    database_prepares: bool
    host: str
    port: int
    processes: int
    portal_url: str
    proxy_token: str
    site_url: str
    site_name: str
    apps_url: str
    session_seconds: int
    connections: int
    app_connections: int

    @classmethod
    def read(cls) -> Settings:
        """Read the environment. Raises BadSetting for a value that makes no sense."""
        portal_port = env_int("PORT", 8000)
        port = env_int("PROXY_PORT", portal_port + 1)
        host = env_str("HOST", "127.0.0.1")
        connections = int(resource.getrlimit(resource.RLIMIT_NOFILE)[1] * _CLIENTS_SHARE)
        return cls(
            database_url=env_str("DATABASE_URL", "postgresql://fastgpu@127.0.0.1:5432/fastgpu"),
            database_prepares=env_bool("DATABASE_PREPARE", default=True),
            host=host,
            port=port,
            processes=max(1, env_int("PROXY_PROCESSES", 1)),
            portal_url=f"http://{_loopback_of(host)}:{portal_port}",
            proxy_token=env_str("FASTGPU_PROXY_TOKEN"),
            site_url=env_str("SITE_URL", f"http://localhost:{portal_port}").rstrip("/"),
            site_name=env_str("SITE_NAME", "FastGPU"),
            apps_url=_apps_url(env_str("APPS_URL", f"http://{{name}}.apps.localhost:{port}")),
            session_seconds=env_int("APP_SESSION_SECONDS", 12 * 3600),
            connections=connections,
            app_connections=max(1, int(connections * _APP_SHARE)),
        )

    @property
    def is_https(self) -> bool:
        """Whether browsers reach apps by TLS, which a server in front of this one speaks."""
        return self.apps_url.startswith("https://")


def raise_file_limit() -> None:
    """Open as many files as this process may have."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _apps_url(text: str) -> str:
    if not re.fullmatch(r"https?://\{name\}\.[^/{}]+/?", text):
        raise BadSetting(f"APPS_URL must be like https://{{name}}.apps.example.org, not {text!r}")
    return text.rstrip("/").lower()


def _loopback_of(host: str) -> str:
    """Where this machine reaches what listens on `host`, ready for a URL."""
    found = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"[{found}]" if ":" in found else found
