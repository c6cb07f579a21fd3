"""Real GPUs, through NVIDIA's management library. Never through `nvidia-smi`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from fastgpu.agent.readings import GpuReading

logger = logging.getLogger(__name__)
Value = TypeVar("Value")


class Nvml:
    """The GPUs the driver knows. Without the library, or its bindings, there are none."""

    def __init__(self) -> None:
        self._nvml: Any = _bindings()
        self._is_open = False
        self._complaint = ""

    def read(self) -> list[GpuReading]:
        """Every GPU, now. One that does not even tell its UUID is left out."""
        if self._nvml is None or not (self._is_open or self._open()):
            return []
        try:
            count = self._nvml.nvmlDeviceGetCount()
        except self._nvml.NVMLError as error:
            # The driver may have been reloaded: what is open is worth nothing any more.
            self._complain(f"the GPU driver does not answer: {error}")
            self._close()
            return []
        readings = [self._read_one(index) for index in range(count)]
        return [reading for reading in readings if reading is not None]

    def _open(self) -> bool:
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError_LibraryNotFound:
            self._nvml = None
            return False
        except self._nvml.NVMLError as error:
            self._complain(f"the GPU driver cannot be used: {error}")
            return False
        self._is_open = True
        self._complaint = ""
        return True

    def _close(self) -> None:
        self._is_open = False
        self._ask(self._nvml.nvmlShutdown)

    def _read_one(self, index: int) -> GpuReading | None:
        nvml = self._nvml
        handle = self._ask(lambda: nvml.nvmlDeviceGetHandleByIndex(index))
        uuid = handle and self._ask(lambda: _text(nvml.nvmlDeviceGetUUID(handle)))
        if not uuid:
            self._complain(f"GPU {index} does not tell its UUID and is left out")
            return None
        return GpuReading(
            uuid=uuid,
            utilization_percent=self._ask(
                lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            ),
            memory_used_bytes=self._ask(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).used)),
            power_watts=self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            temperature_celsius=self._ask(
                lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
            ),
            pids=self._ask(
                lambda: tuple(
                    process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)
                )
            ),
        )

    def _ask(self, question: Callable[[], Value]) -> Value | None:
        """The answer, or None: each value may be missing by itself, as on MIG or old drivers."""
        try:
            return question()
        except (self._nvml.NVMLError, self._nvml.NVMLLibraryMismatchError):
            return None

    def _complain(self, sentence: str) -> None:
        if sentence != self._complaint:
            self._complaint = sentence
            logger.warning("%s", sentence)


def _bindings() -> Any:
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml


def _text(value: str | bytes) -> str:
    """The bindings answered bytes before version 12, str since."""
    return value.decode() if isinstance(value, bytes) else value
