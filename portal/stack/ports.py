"""Ports on which the stack listens."""

from __future__ import annotations

import socket

import psutil

from portal.stack.errors import StackError


def loopback_of(host: str) -> str:
    """The address under which this machine reaches what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104


def require_free(host: str, port: int, variable: str) -> None:
    """Raise StackError, naming `variable` as the way out, when `host:port` cannot be had."""
    if not 1 <= port <= 65535:
        raise StackError(f"{variable}={port} is no port: choose one between 1024 and 65000.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise StackError(f"HOST={host} is no address of this machine: set another HOST.") from error
    with socket.socket(family, kind, protocol) as probe:
        # As servers do, so that connections still closing after a stop are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            raise StackError(_sentence(host, port, variable, error)) from error


def _sentence(host: str, port: int, variable: str, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"Port {port} may not be used by you: choose another, as in {variable}=8100 make up."
    owner = _owner(port)
    if owner is None and error.errno not in {98}:
        return f"{host}:{port} cannot be used ({error.strerror}): set another HOST or {variable}."
    by = f" by {owner}" if owner else ""
    return (
        f"Port {port} is taken{by}: stop what uses it or choose another, "
        f"as in {variable}={port + 10 if port < 65000 else 8100} make up."
    )


def _owner(port: int) -> str | None:
    try:
        found = [
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
        ]
        pid = next((pid for pid in found if pid), None)
        return f"process {pid} ({psutil.Process(pid).name()})" if pid else None
    except psutil.Error:
        return None
