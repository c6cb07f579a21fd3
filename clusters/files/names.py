"""Names and paths, as they come from outside."""

from __future__ import annotations

import re
import secrets
import unicodedata

from portal.lib.errors import InvalidInput

MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 4096
MAX_DEPTH = 64
# What breaks a line, or is no character at all.
_CONTROL = {"Cc", "Cs", "Zl", "Zp"}
_PARTIAL = re.compile(r"\.fastgpu-[0-9a-f]{32}\.part")


def split_path(path: str) -> tuple[str, ...]:
    """The names of `a/b/c` below a volume, () for the volume itself.

    Any name that can lie on a disk may be reached. Raises InvalidInput for what is no path.
    """
    if not path:
        return ()
    if len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        raise InvalidInput.of(path=f"A path has at most {MAX_PATH_BYTES:,} bytes.")
    parts = tuple(path.split("/"))
    if len(parts) > MAX_DEPTH:
        raise InvalidInput.of(path=f"A path leads through at most {MAX_DEPTH} folders.")
    for part in parts:
        _check_any(part)
    return parts


def split_new(path: str) -> tuple[str, ...]:
    """`split_path` for what shall be made: its last name must be one we give."""
    parts = split_path(path)
    if not parts:
        raise InvalidInput.of(path="Give it a name.")
    check_new(parts[-1])
    return parts


def check_new(name: str) -> None:
    """Raises InvalidInput for a name we would not give."""
    _check_any(name)
    if not name.strip():
        raise InvalidInput.of(path="A name is more than spaces.")
    if any(unicodedata.category(character) in _CONTROL for character in name):
        raise InvalidInput.of(path="A name has no control characters and no line breaks.")
    if is_partial(name):
        raise InvalidInput.of(path="This name is one that FastGPU uses while a file is uploaded.")


def _check_any(name: str) -> None:
    if not name:
        raise InvalidInput.of(path="Names in a path are parted by one slash, with none at its end.")
    if name in {".", ".."}:
        raise InvalidInput.of(path="A path has no . and no .. in it: name the folders themselves.")
    if "\0" in name or "/" in name:
        raise InvalidInput.of(path="A name has no slash and no NUL character.")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput.of(path="The name is not valid Unicode text.") from error
    if size > MAX_NAME_BYTES:
        raise InvalidInput.of(path=f"A name has at most {MAX_NAME_BYTES} bytes, this has {size}.")


def is_text(name: str) -> bool:
    """Whether a name from the disk is UTF-8: nothing downstream could name another."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def partial_name() -> str:
    """A name nobody else has, for what is not whole yet."""
    return f".fastgpu-{secrets.token_hex(16)}.part"


def is_partial(name: str) -> bool:
    """Whether it is such a name."""
    return _PARTIAL.fullmatch(name) is not None


def numbered(name: str, number: int) -> str:
    """`model.bin` with 2 is `model (2).bin`, shortened where it would become too long."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > 12:
        stem, dot, suffix = name, "", ""
    tail = f" ({number}){dot}{suffix}"
    room = MAX_NAME_BYTES - len(tail.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + tail
