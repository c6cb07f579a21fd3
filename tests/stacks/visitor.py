"""The demo's owner in a browser without a browser: signed in, with cookies, led by redirects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.stacks.portal import Stack


class _Here(httpx.HTTPTransport):
    """Python resolves no name below `localhost`; browsers do."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(host="127.0.0.1")
        here = httpx.Request(
            request.method,
            url,
            headers=request.headers,
            stream=request.stream,
            extensions=request.extensions,
        )
        return super().handle_request(here)


@contextmanager
def visitor(stack: Stack) -> Iterator[httpx.Client]:
    """Signed in, for the length of the block."""
    with httpx.Client(
        base_url=stack.url, transport=_Here(), follow_redirects=True, timeout=60
    ) as client:
        page = client.get("/account/login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None, page[:2000]
        form = {
            "csrfmiddlewaretoken": token[1],
            "login": stack.demo["owner_email"],
            "password": stack.demo["owner_password"],
        }
        entered = client.post("/account/login/", data=form)
        assert entered.url.path == "/dashboard/", entered.text[:2000]
        yield client
