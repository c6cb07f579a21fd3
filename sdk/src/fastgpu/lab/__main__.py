"""`python -m fastgpu.lab`: JupyterLab, where FastGPU's variables say that it shall listen.

It needs `jupyterlab` in the environment. With FASTGPU_STANDBY it is started ahead of being
wanted, see handover.py.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from typing import Any

from fastgpu.lab.handover import Handover
from fastgpu.lab.place import Place

WARM_UP = ("/api", "/lab", "/lab/api/settings", "/api/kernelspecs", "/api/contents")
"""Asked of a server that stands by, so that it has loaded what the first visit loads."""


def main() -> int:
    """Serve until the server ends; 1 when it cannot begin."""
    started_with = dict(os.environ)
    try:
        place = Place.of(started_with)
    except KeyError as error:
        sys.stderr.write(f"{error.args[0]} is not set: this is started by FastGPU.\n")
        return 1
    # Not in the home: what lies there is the user's, and listed as output.
    os.environ["JUPYTER_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="fastgpu-lab-")
    try:
        from jupyterlab.labapp import LabApp
        from traitlets.config import Config
    except ImportError as error:
        sys.stderr.write(f"{error.name} is missing: this environment has no JupyterLab.\n")
        return 1
    app = LabApp.initialize_server(argv=[], config=Config(settings(place)))
    if place.port_file:
        app.io_loop.add_callback(lambda: place.tell_port(app.port))
    if "FASTGPU_STANDBY" in started_with:
        app.io_loop.add_callback(stand_by, app, Handover(started_with), place)
    app.start()
    return 0


def settings(place: Place) -> dict[str, dict[str, Any]]:
    """What follows from where it runs, as Jupyter's configuration.

    What people shall find in it, and how its output is kept, belongs into a module of its own.
    """
    where: dict[str, Any] = {"ip": place.host, "port": 0}
    if place.socket:
        where = {"sock": place.socket, "sock_mode": "0600"}
    return {
        "ServerApp": {
            **where,
            "root_dir": place.root,
            "open_browser": False,
            # The proxy looks at names and origins; nobody else knows the token.
            "allow_remote_access": True,
            # The attempt's user is nobody, unless the operator runs all without a sandbox.
            "allow_root": True,
        },
        "IdentityProvider": {"token": place.token},
    }


async def stand_by(app: Any, handover: Handover, place: Place) -> None:
    """Warm up, say so, and be whose it will be."""
    for path in WARM_UP:
        await _ask(place, path)
    loop = asyncio.get_running_loop()

    def claimed() -> None:
        loop.remove_reader(handover)
        if not handover.take():
            app.stop()
            return
        # Made at its start, and emptied out of the home since.
        os.makedirs(app.data_dir, mode=0o700, exist_ok=True)  # noqa: PTH103
        # The workspace lies over the empty folder that this one is.
        os.chdir(place.root)
        handover.say_claimed()

    loop.add_reader(handover, claimed)
    handover.say_ready()


async def _ask(place: Place, path: str) -> None:
    """One answer of our own server."""
    reader, writer = await asyncio.open_unix_connection(place.socket)
    words = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    writer.write(f"{words}Authorization: token {place.token}\r\n\r\n".encode())
    await reader.read()
    writer.close()
    await writer.wait_closed()


if __name__ == "__main__":
    sys.exit(main())
