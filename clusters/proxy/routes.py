"""Which workload serves under which name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a workload listens, as seen from the proxy."""

    host: str
    port: int


class Routes:
    """Names of workloads to where they listen. Used from one event loop, so it has no lock."""

    def __init__(self) -> None:
        self._upstreams: dict[str, Upstream] = {}

    def __len__(self) -> int:
        return len(self._upstreams)

    def add(self, name: str, upstream: Upstream) -> None:
        """Serve `name` from `upstream`, instead of where it was served from before."""
        self._upstreams[name.lower()] = upstream

    def remove(self, name: str) -> None:
        """Serve `name` no more; unknown names are no error."""
        self._upstreams.pop(name.lower(), None)

    def get(self, name: str) -> Upstream | None:
        """Where `name` is served from, None when it is not."""
        return self._upstreams.get(name.lower())
