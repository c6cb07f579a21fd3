"""`python -m fastgpu.lab`: JupyterLab, where FastGPU's variables say that it shall listen.

It needs `jupyterlab` in the environment. With FASTGPU_STANDBY it is started ahead of being
wanted, see handover.py. How it is configured: config.py.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

from fastgpu.lab import config, use
from fastgpu.lab.handover import Handover
from fastgpu.lab.place import Place

WARM_UP = ("/api", "/lab", "/lab/api/settings", "/api/kernelspecs", "/api/contents")
"""Asked of a server that stands by, so that it has loaded what the first visit loads."""

END_SECONDS = 8
"""From the wish that it ends to its end at the latest; less than the grace that pools give."""


def main() -> int:
    """Serve until the server ends; 1 when it cannot begin."""
    started_with = dict(os.environ)
    try:
        place = Place.of(started_with)
    except KeyError as error:
        sys.stderr.write(f"{error.args[0]} is not set: this is started by FastGPU.\n")
        return 1
    # Not in the home: what lies there is the user's, and listed as output.
    scratch = Path(tempfile.mkdtemp(prefix="fastgpu-lab-"))
    os.environ["JUPYTER_RUNTIME_DIR"] = str(scratch / "runtime")
    # A checker of internationalised addresses that takes half of the start to build its grammar.
    # It is an optional part of `jsonschema`, and no schema of Jupyter's asks for it.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    try:
        from jupyterlab.labapp import LabApp
        from traitlets.config import Config
    except ImportError as error:
        sys.stderr.write(f"{error.name} is missing: this environment has no JupyterLab.\n")
        return 1
    config.write_page(scratch)
    settings = config.server_config(place, scratch, records=config.can_record())
    app = LabApp.initialize_server(argv=[], config=Config(settings))
    use.add_route(app.web_app)
    end_in_time()
    if place.port_file:
        app.io_loop.add_callback(lambda: place.tell_port(app.port))
    if "FASTGPU_STANDBY" in started_with:
        app.io_loop.add_callback(stand_by, app, Handover(started_with), place)
    try:
        app.start()
    finally:
        # Without a sandbox it lies where it would stay.
        shutil.rmtree(scratch, ignore_errors=True)
    return 0


def end_in_time() -> None:
    """Let a server that is asked to end do so, however its ending goes.

    Jupyter stays for ever when its clean-up fails, which a page that just connects can bring
    about. Documents are saved at the beginning of it.
    """
    stop = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        signal.alarm(END_SECONDS)
        if callable(stop):
            stop(number, frame)

    signal.signal(signal.SIGTERM, end)


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
