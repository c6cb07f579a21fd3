"""Opening a folder where hostile code may put a link on the way. The standard library alone."""

from __future__ import annotations

import os

FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_without_links(path: str) -> int:
    """A descriptor (O_PATH) of the folder at an absolute path.

    It is taken step by step, each from the open folder above, so whoever may swap a part of the
    way leads it into what is theirs to write, and nowhere else. Raises NotADirectoryError where
    a link is on the way, other OSErrors where the folder cannot be had.
    """
    here = os.open("/", FLAGS)
    for part in path.strip("/").split("/"):
        above = here
        try:
            here = os.open(part, FLAGS, dir_fd=above)
        finally:
            os.close(above)
    return here
