"""`python -m tests.chaos.zygote MODULE`: Django loaded, nothing connected, forked for every life.

MODULE says what an `Order` is and how to `live` it. Reads an order a line, answers with the exit
status of the process that lived it (negative: the signal that ended it). A fork takes milliseconds,
and inherits no connection of anybody's.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module

import django


def main() -> None:
    """Serve until the orders end."""
    django.setup()
    lives = import_module(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        order = lives.Order(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                lives.live(order)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
