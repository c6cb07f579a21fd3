"""`python -m fastgpu.lab.board FOLDER`: TensorBoard on a unix socket, for FastGPU's proxy.

Nobody but the proxy can reach the socket, so TensorBoard, which knows no sign-in, needs none.
"""

from __future__ import annotations

import os
import sys
from typing import Any

RELOAD_SECONDS = 5


def main(folder: str) -> int:
    """Serve until it is ended; 1 where the environment has no TensorBoard."""
    try:
        from tensorboard import default, program
        from werkzeug import serving
    except ImportError as error:
        sys.stderr.write(f"{error.name} is missing: this environment has no TensorBoard.\n")
        return 1

    class UnixServer(program.TensorBoardServer):
        def __init__(self, wsgi_app: Any, _flags: Any) -> None:
            where = f"unix://{os.environ['FASTGPU_SERVE_SOCKET']}"
            quiet = type("Quiet", (serving.WSGIRequestHandler,), {"log_request": _nothing})
            self._server = serving.make_server(
                where, 0, wsgi_app, threaded=True, request_handler=quiet
            )

        def serve_forever(self) -> None:
            self._server.serve_forever()

        def get_url(self) -> str:
            return ""

    board = program.TensorBoard(plugins=default.get_plugins(), server_class=UnixServer)
    options = ["--logdir", folder, "--load_fast", "false", "--reload_interval"]
    board.configure(argv=["tensorboard", *options, str(RELOAD_SECONDS)])
    board._make_server().serve_forever()
    return 0


def _nothing(*_: Any) -> None:
    """Every request would be a line of a log nobody reads."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
