"""Which headers cross the proxy, and which stay on one side of it."""

from __future__ import annotations

from multidict import CIMultiDict, MultiMapping

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Only a proxy in front could have set them truly, and no workload needs to know who comes from
# where.
_FORGEABLE = frozenset(
    {
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-real-ip",
    }
)
# They reach past the origin of who sends them: all cookies of the site (the portal's, too), other
# addresses for a name, files of a server in front of this one.
_REACHING = frozenset(
    {
        "alt-svc",
        "clear-site-data",
        "public-key-pins",
        "strict-transport-security",
        "x-accel-expires",
        "x-accel-redirect",
        "x-lighttpd-send-file",
        "x-reproxy-url",
        "x-sendfile",
    }
)
_NOT_REQUESTED = HOP_BY_HOP | _FORGEABLE
_NOT_ANSWERED = HOP_BY_HOP | _REACHING
_PLAIN_CONNECTION = frozenset({"", "keep-alive", "close", "upgrade", "keep-alive, upgrade"})


def to_upstream(headers: MultiMapping[str], *, scheme: str) -> CIMultiDict[str]:
    """A request's headers as the workload's server gets them."""
    kept = _without(headers, _NOT_REQUESTED)
    kept.add("X-Forwarded-Proto", scheme)
    return kept


def to_client(headers: MultiMapping[str], *, cookie: str) -> CIMultiDict[str]:
    """An answer's headers as the client gets them; `cookie` is the name that is ours."""
    kept = _without(headers, _NOT_ANSWERED)
    if "Set-Cookie" in kept:
        lines = kept.popall("Set-Cookie")
        for line in lines:
            if own := _host_only(line, cookie):
                kept.add("Set-Cookie", own)
    return kept


def _host_only(line: str, ours: str) -> str:
    """A cookie of the host alone that has set it; "" for one that could be taken for ours."""
    pair, *attributes = line.split(";")
    name, has_name, _ = pair.partition("=")
    # Without a name, what is sent back is the value alone, which may look like any cookie.
    if not has_name or name.strip().lower() in {"", ours.lower()}:
        return ""
    kept = [each for each in attributes if each.partition("=")[0].strip().lower() != "domain"]
    return ";".join([pair, *kept])


def _without(headers: MultiMapping[str], dropped: frozenset[str]) -> CIMultiDict[str]:
    named = ", ".join(headers.getall("Connection", ())).lower()
    if named not in _PLAIN_CONNECTION:
        dropped = dropped | {token.strip() for token in named.split(",")}
    return CIMultiDict(
        [(key, value) for key, value in headers.items() if key.lower() not in dropped]
    )
