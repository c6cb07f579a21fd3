"""A JupyterLab as FastGPU starts it, without a sandbox, and a page that talks with its kernels."""

from __future__ import annotations

import json
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import websockets.sync.client
from websockets.typing import Subprotocol

from tests.contracts.backend import wait_for
from tests.stacks.environments import prepared

SDK = Path(__file__).resolve().parents[2] / "sdk" / "src"
PROTOCOL = Subprotocol("v1.kernel.websocket.jupyter.org")
TOKEN = "secret"
HEADERS = {"Authorization": f"token {TOKEN}"}


class Lab:
    """One server, its workspace and its process."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], url: str) -> None:
        self.folder = folder
        self.process = process
        self.url = url

    def write(self, name: str, *sources: str) -> None:
        """A notebook with cells that are called 0, 1, 2, ..."""
        cells: list[dict[str, object]] = [
            {"cell_type": "code", "id": f"cell-{number}", "source": source, "metadata": {},
             "outputs": [], "execution_count": None}
            for number, source in enumerate(sources)
        ]  # fmt: skip
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4,
                    "nbformat_minor": 5}  # fmt: skip
        (self.folder / name).write_text(json.dumps(notebook))

    def cells(self, name: str) -> list[dict[str, Any]]:
        """What the file holds now; read again where it is just being written."""
        text = wait_for((self.folder / name).read_text)
        return cast(list[dict[str, Any]], json.loads(text)["cells"])

    def printed(self, name: str, cell: int = 0) -> str:
        """The text that the file shows below a cell."""
        outputs = self.cells(name)[cell]["outputs"]
        return "".join("".join(o["text"]) for o in outputs if o["output_type"] == "stream")

    def open(self, name: str) -> str:
        """Begin a session of the notebook; its kernel's id."""
        asked = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        url = f"{self.url}/api/sessions"
        answer = httpx.post(url, json=asked, headers=HEADERS, timeout=30)
        answer.raise_for_status()
        return str(answer.json()["kernel"]["id"])

    def kernel(self, kernel: str) -> dict[str, Any]:
        """What the server says of it."""
        answer = httpx.get(f"{self.url}/api/kernels/{kernel}", headers=HEADERS, timeout=30)
        return cast(dict[str, Any], answer.json())

    @contextmanager
    def page(self, kernel: str, session: str = "") -> Iterator[Page]:
        """A page that is connected, until it is closed as a browser does it."""
        session = session or uuid.uuid4().hex
        address = self.url.replace("http", "ws", 1) + f"/api/kernels/{kernel}/channels"
        with websockets.sync.client.connect(
            f"{address}?session_id={session}",
            additional_headers=HEADERS,
            subprotocols=[PROTOCOL],
            max_size=None,
        ) as connection:
            assert connection.subprotocol == PROTOCOL
            yield Page(connection, session)


class Page:
    """The connection of a page to a kernel, which can be lost."""

    def __init__(self, connection: websockets.sync.client.ClientConnection, session: str) -> None:
        self.session = session
        self._connection = connection

    def run(self, source: str, cell: int = 0) -> None:
        """Ask the kernel to run a cell."""
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3",
                  "username": "", "session": self.session, "date": ""}  # fmt: skip
        content = {"code": source, "silent": False, "store_history": True, "user_expressions": {},
                   "allow_stdin": False, "stop_on_error": True}  # fmt: skip
        parts = [header, {}, {"cellId": f"cell-{cell}"}, content]
        self._connection.send(_packed(*(json.dumps(part).encode() for part in parts)))

    def hears(self, *, seconds: float = 30) -> tuple[str, dict[str, Any]]:
        """The next message: its type and content."""
        data = cast(bytes, self._connection.recv(timeout=seconds))
        count = int.from_bytes(data[:8], "little")
        at = [int.from_bytes(data[8 * n : 8 * n + 8], "little") for n in range(1, count + 1)]
        header, _, _, content = (data[at[n] : at[n + 1]] for n in range(1, 5))
        return json.loads(header)["msg_type"], json.loads(content)

    def waits_for(self, text: str) -> None:
        """Listen until the kernel has printed `text`."""
        seen = ""
        while text not in seen:
            kind, content = self.hears()
            if kind == "stream":
                seen += content["text"]

    def is_lost(self) -> None:
        """Cut the connection without a word, as a machine does that loses its network."""
        self._connection.socket.shutdown(socket.SHUT_RDWR)


def _packed(*parts: bytes) -> bytes:
    """A message as Jupyter's protocol v1 has it: where each part begins, then the parts."""
    every = [b"shell", *parts]
    offsets = [8 * (len(every) + 2)]
    for part in every:
        offsets.append(offsets[-1] + len(part))
    numbers = (len(offsets), *offsets)
    return b"".join([*(number.to_bytes(8, "little") for number in numbers), *every])


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """A JupyterLab whose workspace is in `folder`."""
    work, home, told = folder / "work", folder / "home", folder / "port.json"
    work.mkdir()
    home.mkdir()
    env = {
        "HOME": str(home), "PYTHONPATH": str(SDK), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
        "TMPDIR": str(folder), "FASTGPU_WORKSPACE": str(work), "FASTGPU_SERVE_HOST": "127.0.0.1",
        "FASTGPU_SERVE_FILE": str(told), "FASTGPU_SERVE_TOKEN": TOKEN,
    }  # fmt: skip
    python = str(prepared("lab") / "lab" / "bin" / "python")
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, "-m", "fastgpu.lab"], env=env, cwd=work, stdout=output, stderr=output
        )
    try:
        wait_for(told.exists, 60)
        yield Lab(work, process, f"http://127.0.0.1:{json.loads(told.read_text())['port']}")
        print(log.read_text())
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
