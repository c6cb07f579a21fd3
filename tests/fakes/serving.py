"""An engine in memory whose attempts can serve."""

from __future__ import annotations

from clusters.backends.base import Endpoint, Phase, Serving
from tests.fakes.backend import FakeBackend


class ServingBackend(FakeBackend, Serving):
    """Names an endpoint for every attempt that runs, unless `knows_no_endpoint`."""

    def __init__(self) -> None:
        super().__init__()
        self.knows_no_endpoint = False
        self.terminals: list[str] = []

    def endpoint(self, external_name: str, service: str) -> Endpoint | None:
        self._answer()
        seen = self.seen.get(external_name)
        if self.knows_no_endpoint or seen is None or seen.phase != Phase.RUNNING:
            return None
        return Endpoint(host="127.0.0.1", port=9000, token=f"{service}-token")

    def open_terminal(self, external_name: str) -> None:
        self._answer()
        self.terminals.append(external_name)
