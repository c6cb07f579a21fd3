"""An engine that does nothing: what was submitted runs when next looked at, and for ever.

It holds no state, and answers as one that queues does: a submission is only taken note of.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import BinaryIO

from clusters.backends.base import (
    Backend,
    GpuDescription,
    Handle,
    Health,
    LaunchSpec,
    LogChunk,
    NodeDescription,
    Observation,
    OutputFile,
    Phase,
    Survey,
)


class NoopBackend(Backend):
    """Schedules by itself, in no time."""

    queues = True

    def submit(self, spec: LaunchSpec) -> Observation:
        return Observation(spec.external_name, Phase.PENDING)

    def observe(self, handles: Iterable[Handle]) -> Survey:
        taken_at = datetime.now(UTC)
        seen = {
            handle.external_name: Observation(
                handle.external_name, Phase.RUNNING, started_at=handle.submitted_at, node="noop"
            )
            for handle in handles
        }
        return Survey(taken_at, seen)

    def stop(self, external_name: str, *, grace_seconds: int) -> None:
        return

    def read_log(self, external_name: str, *, offset: int, limit: int) -> LogChunk:
        return LogChunk(b"", offset, offset, complete=False)

    def list_files(self, external_name: str) -> Sequence[OutputFile]:
        return []

    def open_file(self, external_name: str, path: str) -> BinaryIO:
        return io.BytesIO()

    def inventory(self, options: Mapping[str, str]) -> Sequence[NodeDescription]:
        gpu = GpuDescription("GPU-noop-0", 0, "none", 1, is_virtual=True)
        return [NodeDescription("noop", (gpu,), gpus_in_use=0)]

    def health(self, options: Mapping[str, str]) -> Health:
        return Health(may_start=True, isolation="nothing runs", detail="")
