"""What the system refuses, in words for people."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from portal.lib.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PortalError,
    TooLarge,
    Unavailable,
)


def exists(what: str) -> Conflict:
    """The refusal of a name that is taken."""
    return Conflict(f"There is already something called {what}.", fields={"path": "exists"})


def _missing(what: str) -> PortalError:
    return NotFound(f"There is no {what or 'such folder'} in this volume.")


def _closed(what: str) -> PortalError:
    return Conflict(f"{what} is closed by its permissions. Open it from a notebook or a job.")


def _no_name(what: str) -> PortalError:
    return InvalidInput.of(path=f"{what[:80]} cannot be a name there.")


_WORDS: dict[int, Callable[[str], PortalError]] = {
    errno.ENOENT: _missing,
    errno.ESTALE: _missing,
    errno.ENOTDIR: lambda what: NotFound(f"{what} is no folder."),
    errno.ELOOP: lambda what: NotFound(f"{what} is a link, and links are not followed."),
    errno.ENXIO: lambda what: NotFound(f"{what} is no file."),
    errno.EEXIST: exists,
    errno.ENOTEMPTY: exists,
    errno.EISDIR: exists,
    errno.EACCES: _closed,
    errno.EPERM: _closed,
    errno.ENAMETOOLONG: _no_name,
    errno.EINVAL: _no_name,
    errno.EDQUOT: lambda _: TooLarge("The disk takes no more of your team's files."),
    errno.ENOSPC: lambda _: Unavailable("The disk is full. The operators can make room."),
}


@contextmanager
def speaking(what: str) -> Iterator[None]:
    """Raises what the system refuses about `what` as an error of ours."""
    try:
        yield
    except OSError as error:
        words = _WORDS.get(error.errno or 0)
        if words is None:
            sentence = "The volume cannot be reached just now. Try again shortly."
            raise Unavailable(sentence) from error
        raise words(what) from error
