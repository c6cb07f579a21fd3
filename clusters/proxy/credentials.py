"""Our secrets in a request: found, and taken out before it goes on to hostile code."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from multidict import CIMultiDict

# A cookie tossed by a neighbour's page lies beside the real one: each is tried. Browsers keep no
# more than 180 for a domain.
COOKIES_MOST = 180
COOKIE_BYTES = 32 * 1024
_COOKIE_SECRET = re.compile(r"fgc_[\w-]{43}", re.ASCII)
_TOKEN_SECRET = re.compile(r"fgn_[\w-]{32}", re.ASCII)
_AUTHORIZATION = re.compile(r"(?:token|bearer)\s+(fgn_[\w-]{32})\s*", re.ASCII | re.IGNORECASE)


class CookiesTooLarge(Exception):
    """More cookies than anybody has who was not tossed some."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought. With a `token` it is a program's, and its cookies do not count."""

    token: str = ""
    cookies: list[str] = field(default_factory=list)

    @property
    def secrets(self) -> list[str]:
        """What to look up, in order."""
        return [self.token] if self.token else self.cookies


def cookie_name(*, is_https: bool) -> str:
    """Under HTTPS browsers keep a `__Host-` cookie to the one host that has set it."""
    return "__Host-fastgpu" if is_https else "fastgpu"


def take(headers: CIMultiDict[str], target: str, cookie: str) -> tuple[Credentials, str]:
    """Take ours out of `headers` and of the request's target; returns them and the target left.

    Raises CookiesTooLarge.
    """
    token = _take_authorization(headers)
    if "?" in target and "token=" in target:
        in_query, target = _take_from_query(target)
        token = token or in_query
    return Credentials(token, _take_cookies(headers, cookie)), target


def _take_authorization(headers: CIMultiDict[str]) -> str:
    found = _AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
    if found is None:
        return ""
    del headers["Authorization"]
    return found[1]


def _take_from_query(target: str) -> tuple[str, str]:
    path, _, query = target.partition("?")
    token, rest = "", []
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == "token" and _TOKEN_SECRET.fullmatch(value):
            token = value
        else:
            rest.append(pair)
    return token, f"{path}?{'&'.join(rest)}" if rest else path


def _take_cookies(headers: CIMultiDict[str], name: str) -> list[str]:
    lines = headers.getall("Cookie", ())
    if sum(map(len, lines)) > COOKIE_BYTES:
        raise CookiesTooLarge
    line = "; ".join(lines)
    if name not in line:
        return []
    found, rest = [], []
    for pair in map(str.strip, line.split(";")):
        key, _, value = pair.partition("=")
        if key.rstrip() != name:
            rest.append(pair)
        elif _COOKIE_SECRET.fullmatch(value):
            found.append(value)
    del headers["Cookie"]
    if any(rest):
        headers["Cookie"] = "; ".join(filter(None, rest))
    return found[:COOKIES_MOST]
