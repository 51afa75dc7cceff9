"""The machine's memory and accelerators, asked of the system itself: no model library is imported.

CUDA devices are asked of the driver's own library (NVML), which answers without starting CUDA.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_NVML = "libnvidia-ml.so.1"
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Memory:
    """Bytes of memory in all and free, of the host or of one device."""

    name: str
    total: int
    free: int


class _Usage(ctypes.Structure):
    """``nvmlMemory_t``."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


@cache
def cuda_devices() -> tuple[Memory, ...] | None:
    """The CUDA devices that this process may use; None where the driver cannot be asked."""
    try:
        nvml = ctypes.CDLL(_NVML)
        if nvml.nvmlInit_v2() != 0:
            return None
        count = ctypes.c_uint()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        devices = tuple(_device(nvml, index) for index in range(count.value))
    except (OSError, AttributeError):
        return None
    return _visible(devices, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _device(nvml: ctypes.CDLL, index: int) -> Memory:
    handle, usage, name = ctypes.c_void_p(), _Usage(), ctypes.create_string_buffer(96)
    nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
    nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(usage))
    nvml.nvmlDeviceGetName(handle, name, len(name))
    return Memory(name.value.decode(errors="replace"), usage.total, usage.free)


def _visible(devices: tuple[Memory, ...], chosen: str | None) -> tuple[Memory, ...] | None:
    """The devices that ``CUDA_VISIBLE_DEVICES`` leaves, in its order; None for names of devices."""
    if chosen is None:
        return devices
    numbers = [part.strip() for part in chosen.split(",") if part.strip()]
    if not all(number.lstrip("-").isdecimal() for number in numbers):
        return None
    visible = []
    for number in map(int, numbers):
        if not 0 <= number < len(devices):
            break  # as CUDA does: what follows an unknown device is not seen either
        visible.append(devices[number])
    return tuple(visible)


def host_memory() -> Memory | None:
    """The host's memory, or what a container may use of it; None where the system does not say."""
    told = {}
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            key, _, rest = line.partition(":")
            told[key] = int(rest.split()[0]) * 1024
    if "MemTotal" not in told:
        return None
    total, free = told["MemTotal"], told.get("MemAvailable", told["MemTotal"])
    for file in _LIMITS:
        with suppress(OSError, ValueError):
            total = min(total, int(Path(file).read_text(encoding="ascii")))
    return Memory("host", total, min(free, total))
