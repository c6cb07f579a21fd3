"""The processes of FastGPU, as data."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable

from clusters import recipes
from portal.lib.env import env_str
from portal.stack.children import Child
from portal.stack.config import Config, Parts
from portal.stack.jail import die_with_parent

POSTGRES, VALKEY, SANDBOX = "postgres", "valkey", "stripe-sandbox"
SETUP, ENVIRONMENTS = "setup", "environments"
WEB, WORKER, BEAT, PROXY, AGENT = "web", "worker", "beat", "proxy", "agent"


def stores(parts: Parts) -> list[Child]:
    """PostgreSQL and Valkey, those of them that are ours."""
    children = []
    if parts.postgres:
        children.append(
            Child(
                POSTGRES,
                tuple(parts.postgres.command()),
                ready=parts.postgres.is_ready,
                stop_signal=signal.SIGINT,
                kill_signal=signal.SIGQUIT,
                grace=20.0,
                main_pid=parts.postgres.main_pid,
            )
        )
    if parts.valkey:
        children.append(Child(VALKEY, tuple(parts.valkey.command()), ready=parts.valkey.is_ready))
    return children


def steps(parts: Parts, *, migrate: bool, environments: bool) -> list[Child]:
    """What runs once at a start. Without `migrate` it waits until the portal is up already."""
    below = tuple(child.name for child in stores(parts))
    after = below if migrate else (*below, WEB, WORKER, BEAT, PROXY, AGENT)
    # Of a database that is not ours we cannot know what else was done to it.
    options = ["--migrate", *(["--remember"] if parts.postgres else [])] if migrate else []
    command = _python("portal.stack.setup", *options)
    children = [Child(SETUP, command, after=after, once=True)]
    if environments:
        build = ("build_environments", "--skip-checks", *recipes.FIRST)
        command = _run(sys.executable, "manage.py", *build)
        children.append(Child(ENVIRONMENTS, command, once=True))
    return children


def servers(parts: Parts, *, after_setup: bool) -> list[Child]:
    """What runs for as long as the stack does."""
    config = parts.config
    below = (*(child.name for child in stores(parts)), *([SETUP] if after_setup else []))
    celery = _python("celery", "-A", "portal")
    worker = "worker --pool threads --concurrency 8 --without-gossip --without-mingle"
    schedule = str(config.layout.run / "celerybeat-schedule")
    agent = ("--portal", config.portal_url, "--placements", str(config.layout.attempts))
    address = config.loopback.strip("[]")
    listens, proxies = (tcp_check(address, port) for port in (config.port, config.proxy_port))
    return [
        Child(WEB, _web(config), after=below, ready=listens),
        Child(
            WORKER,
            (*celery, *worker.split(), "--without-heartbeat", "-l", "info", "-Q", "celery"),
            after=below,
            grace=15.0,
        ),
        # It reads the database but needs no Django, and what is open through it outlives the web.
        Child(PROXY, _python("clusters.proxy"), after=below, ready=proxies),
        Child(BEAT, (*celery, "beat", "-l", "warning", "-s", schedule, "--pidfile="), after=below),
        Child(AGENT, _python("fastgpu.agent", *agent), after=(WEB,)),
        *_sandbox(config),
    ]


def tcp_check(host: str, port: int) -> Callable[[], bool]:
    """A check whether something listens on `host:port`."""

    def listens() -> bool:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return False
        return True

    return listens


def _sandbox(config: Config) -> list[Child]:
    if not config.stripe_sandbox:
        return []
    port, state = str(config.sandbox_port), str(config.layout.stripe)
    hook = f"{config.portal_url}/webhooks/stripe/"
    command = _python("billing.sandbox", "--port", port, "--state", state, "--webhook-url", hook)
    return [Child(SANDBOX, command, ready=tcp_check("127.0.0.1", config.sandbox_port))]


def _web(config: Config) -> tuple[str, ...]:
    sockets = ("--ws-max-size", "65536", "--ws-ping-interval", "20", "--ws-ping-timeout", "20")
    # Addresses of callers are believed from a front proxy that the operator names, from no other.
    proxies = () if env_str("FORWARDED_ALLOW_IPS") else ("--no-proxy-headers",)
    where = ("--host", config.host, "--port", str(config.port))
    return (
        *_python("uvicorn", "portal.asgi:application", *where),
        "--no-access-log",
        "--no-server-header",
        "--timeout-graceful-shutdown",
        "5",
        "--log-level",
        "warning",
        *proxies,
        *sockets,
    )


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return _run(sys.executable, "-m", module, *arguments)


def _run(*command: str) -> tuple[str, ...]:
    # `kill -9` of the supervisor must leave none of them behind.
    return tuple(die_with_parent(list(command)))
