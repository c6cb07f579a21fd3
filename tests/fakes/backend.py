"""An engine in memory that does what a test tells it, and keeps count of what it was asked."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import BinaryIO, ClassVar

from clusters.backends.base import (
    Backend,
    BackendUnavailable,
    EndReason,
    GpuDescription,
    Handle,
    Health,
    LaunchRefused,
    LaunchSpec,
    LogChunk,
    NodeDescription,
    Observation,
    OutputFile,
    Phase,
    Survey,
)
from portal.lib import clock
from tests.fakes.volumes import FolderVolumes


class FakeBackend(Backend, FolderVolumes):
    """Four GPUs on one node, and volumes.

    `is_down` makes every call raise, `refusal` refuses launches.
    """

    current: ClassVar[FakeBackend]

    def __init__(self) -> None:
        self.specs: dict[str, LaunchSpec] = {}
        self.seen: dict[str, Observation] = {}
        self.logs: dict[str, bytes] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.submits: list[str] = []
        self.stops: list[str] = []
        self.strays: tuple[str, ...] = ()
        self.is_down = False
        self.refusal = ""
        self.health_now = Health(may_start=True, isolation="fake", detail="")

    @classmethod
    def reset(cls) -> FakeBackend:
        """A new one, which `the_fake` hands out."""
        FakeBackend.current = cls()
        return FakeBackend.current

    def submit(self, spec: LaunchSpec) -> Observation:
        self._answer()
        if self.refusal:
            raise LaunchRefused(self.refusal)
        self.submits.append(spec.external_name)
        if spec.external_name not in self.seen:
            self.specs[spec.external_name] = spec
            self.seen[spec.external_name] = Observation(
                spec.external_name, Phase.RUNNING, started_at=clock.now(), node="fake-1"
            )
        return self.seen[spec.external_name]

    def observe(self, handles: Iterable[Handle]) -> Survey:
        self._answer()
        names = [handle.external_name for handle in handles]
        seen = {name: self.seen[name] for name in names if name in self.seen}
        return Survey(clock.now(), seen, self.strays)

    def stop(self, external_name: str, *, grace_seconds: int) -> None:
        self._answer()
        self.stops.append(external_name)

    def read_log(self, external_name: str, *, offset: int, limit: int) -> LogChunk:
        whole = self.logs.get(external_name, b"")
        data = whole[offset : offset + limit]
        seen = self.seen.get(external_name)
        ended = seen is not None and seen.phase == Phase.ENDED
        following = offset + len(data)
        return LogChunk(data, offset, following, ended and following >= len(whole))

    def list_files(self, external_name: str) -> Sequence[OutputFile]:
        self._answer()
        files = self.files.get(external_name, {})
        return [OutputFile(path, len(data), clock.now()) for path, data in sorted(files.items())]

    def open_file(self, external_name: str, path: str) -> BinaryIO:
        try:
            return io.BytesIO(self.files[external_name][path])
        except KeyError as error:
            raise FileNotFoundError(path) from error

    def inventory(self, options: Mapping[str, str]) -> Sequence[NodeDescription]:
        self._answer()
        gpus = tuple(
            GpuDescription(f"GPU-fake-{i}", i, "NVIDIA A100 (fake)", 40 * 1024**3, is_virtual=True)
            for i in range(4)
        )
        return [NodeDescription("fake-1", gpus)]

    def health(self, options: Mapping[str, str]) -> Health:
        self._answer()
        return self.health_now

    def end(
        self,
        external_name: str,
        reason: EndReason,
        *,
        at: datetime | None = None,
        exit_code: int = 0,
        detail: str = "",
    ) -> None:
        """Let an attempt end."""
        self.seen[external_name] = replace(
            self.seen[external_name],
            phase=Phase.ENDED,
            ended_at=at or clock.now(),
            reason=reason,
            exit_code=exit_code,
            detail=detail,
        )

    def _answer(self) -> None:
        if self.is_down:
            raise BackendUnavailable("the engine does not answer")


def the_fake() -> Backend:
    """The factory settings name."""
    return FakeBackend.current
