"""Whose host name a request came to."""

from __future__ import annotations

import re

from multidict import CIMultiDictProxy

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PORT = re.compile(r":\d{0,5}$")


class Hosts:
    """The names below one wildcard, as `APPS_URL` says it."""

    def __init__(self, apps_url: str) -> None:
        self._url = apps_url
        self._suffix = _PORT.sub("", apps_url.partition("{name}")[2])

    def name_of(self, host: str) -> str | None:
        """The app that a Host header means; None for what is no app's. A port does not matter."""
        bare = _PORT.sub("", host.lower())
        if not bare.endswith(self._suffix):
            return None
        label = bare[: -len(self._suffix)]
        return label if _LABEL.fullmatch(label) else None

    def origin_of(self, name: str) -> str:
        """The origin of its pages."""
        return self._url.format(name=name)


def host_of(headers: CIMultiDictProxy[str], target: str) -> str | None:
    """The one host a request is for; None for a request that says it in no way or in two."""
    hosts = headers.getall("Host", ())
    if len(hosts) != 1 or not target.startswith("/"):
        return None
    return hosts[0]
