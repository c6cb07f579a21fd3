"""The engine in memory with servers: where each attempt serves is what the test says."""

from __future__ import annotations

from clusters.backends.base import Endpoint
from clusters.backends.capabilities import Serving
from tests.fakes.backend import FakeBackend


class ServingBackend(FakeBackend, Serving):
    """Every attempt serves at `everywhere` unless `endpoints` says otherwise; None: not known."""

    def __init__(self) -> None:
        super().__init__()
        self.everywhere: Endpoint | None = Endpoint(host="127.0.0.1", port=1, token="t")
        self.endpoints: dict[str, Endpoint | None] = {}
        self.terminals: list[str] = []

    def endpoint(self, external_name: str, service: str) -> Endpoint | None:
        self._answer()
        return self.endpoints.get(external_name, self.everywhere)

    def open_terminal(self, external_name: str) -> None:
        self._answer()
        self.terminals.append(external_name)
