"""Where a server listens and works, by the variables that FastGPU sets."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """Either `socket`, or `host` with the file to write the port to. `root` is its top folder."""

    root: str
    token: str
    socket: str = ""
    host: str = ""
    port_file: Path | None = None

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Place:
        """Raises KeyError with the name of a variable that is missing."""
        root = env.get("FASTGPU_WORKSPACE") or env["HOME"]
        token = env["FASTGPU_SERVE_TOKEN"]
        if "FASTGPU_SERVE_SOCKET" in env:
            return cls(root, token, socket=env["FASTGPU_SERVE_SOCKET"])
        host, file = env["FASTGPU_SERVE_HOST"], Path(env["FASTGPU_SERVE_FILE"])
        return cls(root, token, host=host, port_file=file)

    def tell_port(self, port: int) -> None:
        """Write down at which port it listens, as a whole or not at all."""
        if self.port_file is None:
            return
        fresh = self.port_file.with_name(f".{self.port_file.name}.{os.getpid()}")
        fresh.write_text(json.dumps({"port": port}), encoding="ascii")
        fresh.replace(self.port_file)
