"""`python -m clusters.proxy`: serve what workloads serve, until SIGTERM.

With PROXY_PROCESSES above one, a parent holds the socket and as many processes serve it.
"""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from pathlib import Path

from clusters.proxy.parent import Parent
from clusters.proxy.settings import Settings, raise_file_limit
from portal.lib.env import BadSetting, env_str


def main() -> int:
    """Run it; 2 when a setting makes no sense."""
    parser = argparse.ArgumentParser(prog="python -m clusters.proxy", description=__doc__)
    # Given by the parent.
    parser.add_argument("--listener", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--number", default="", help=argparse.SUPPRESS)
    parser.add_argument("--relief", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    level = env_str("LOG_LEVEL", "INFO")
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings.read()
    except (BadSetting, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    raise_file_limit()
    if settings.processes > 1 and options.listener is None:
        return Parent(settings).run()
    # Not before: the parent shall be small.
    from clusters.proxy.process import Place, run

    listener = socket.socket(fileno=options.listener) if options.listener is not None else None
    place = Place(
        listener, options.folder, options.number, options.lifeline, is_relief=options.relief
    )
    run(settings, place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
