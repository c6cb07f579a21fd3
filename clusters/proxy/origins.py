"""What pages of which origin may ask for.

All apps are one site to browsers, so their cookies come along with whatever a neighbour's page
sends. Browsers say where a request comes from in headers that no page can set.
"""

from __future__ import annotations

from collections.abc import Mapping

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def may_ask(method: str, headers: Mapping[str, str], *, origin: str, is_socket: bool) -> bool:
    """Whether a browser's request may go to the app whose pages have this origin.

    Anything but reading must come from the app's own pages; reading too, but for a link that a
    person follows in a tab of theirs.
    """
    site = headers.get("Sec-Fetch-Site")
    if method in SAFE and not is_socket:
        return site in {None, "same-origin", "none"} or _is_followed_link(headers)
    if site not in {None, "same-origin"}:
        return False
    said = headers.get("Origin")
    if said is None:
        return site == "same-origin"
    return said.lower() in {origin, *_origins_of(headers.get("Host", ""))}


def is_own_page(headers: Mapping[str, str], *, origin: str) -> bool:
    """Whether a browser says that the app's own page asks."""
    return may_ask("POST", headers, origin=origin, is_socket=False)


def is_navigation(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a person opens a page, so that the answer is read by them and not by a program."""
    mode = headers.get("Sec-Fetch-Mode")
    if method != "GET" or mode not in {None, "navigate"}:
        return False
    return mode == "navigate" or "text/html" in headers.get("Accept", "")


def _is_followed_link(headers: Mapping[str, str]) -> bool:
    return (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) == (
        "navigate",
        "document",
    )


def _origins_of(host: str) -> tuple[str, str]:
    return f"http://{host.lower()}", f"https://{host.lower()}"
