"""What is known of one GPU at one instant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU. None means that it could not be measured, which is not the same as zero.

    `external_names` are the attempts placed on it, `pids` the processes the driver sees there
    (None: it does not say; always None for virtual GPUs).
    """

    uuid: str
    external_names: tuple[str, ...] = ()
    utilization_percent: float | None = None
    memory_used_bytes: int | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    pids: tuple[int, ...] | None = None

    def as_sample(self) -> dict[str, object]:
        """The fields the portal takes."""
        return {
            "uuid": self.uuid,
            "external_names": list(self.external_names),
            "utilization_percent": self.utilization_percent,
            "memory_used_bytes": self.memory_used_bytes,
            "power_watts": self.power_watts,
            "temperature_celsius": self.temperature_celsius,
        }
