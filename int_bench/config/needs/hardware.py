"""The machine's memory and accelerators, asked of the system itself: no model library is imported.

CUDA devices are asked of the driver's own library (NVML), which answers without starting CUDA. It
counts them in the order of the bus, and so does CUDA once :func:`count_as_the_driver` has said so.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_NVML = "libnvidia-ml.so.1"
_ORDER = "CUDA_DEVICE_ORDER"
_BUS = "PCI_BUS_ID"
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Memory:
    """Bytes of memory in all and free, of the host or of one device.

    ``number`` is the driver's of a device, whichever of them this process may use.
    """

    name: str
    total: int
    free: int
    number: int = 0


class _Usage(ctypes.Structure):
    """``nvmlMemory_t``."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


@cache
def _nvml() -> ctypes.CDLL | None:
    """The driver's library, started; None where there is none."""
    try:
        library = ctypes.CDLL(_NVML)
        return library if library.nvmlInit_v2() == 0 else None
    except (OSError, AttributeError):
        return None


def _asked(function: str, *arguments: Any) -> bool:
    """Whether the driver knows a function and it succeeds."""
    library = _nvml()
    try:
        return library is not None and getattr(library, function)(*arguments) == 0
    except AttributeError:
        return False


@cache
def cuda_devices() -> tuple[Memory, ...] | None:
    """The CUDA devices that this process may use; None where the driver cannot be asked."""
    count = ctypes.c_uint()
    if not _asked("nvmlDeviceGetCount_v2", ctypes.byref(count)):
        return None
    devices = tuple(_device(number) for number in range(count.value))
    order = os.environ.get(_ORDER, _BUS)
    if order != _BUS and len({device.name for device in devices}) > 1:
        return None  # CUDA counts them in an order of its own
    return _visible(devices, os.environ.get("CUDA_VISIBLE_DEVICES"))


def count_as_the_driver() -> None:
    """Let CUDA number devices by their place on the bus, unless the user has said otherwise.

    By itself CUDA begins with the device that it takes for the fastest, so that on a machine with
    two kinds ``cuda:0`` is not what ``nvidia-smi`` calls 0. To be called before CUDA starts.
    """
    os.environ.setdefault(_ORDER, _BUS)


def _device(number: int) -> Memory:
    handle, usage, name = _handle(number), _Usage(), ctypes.create_string_buffer(96)
    _asked("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(usage))
    _asked("nvmlDeviceGetName", handle, name, len(name))
    return Memory(name.value.decode(errors="replace"), usage.total, usage.free, number)


def _handle(number: int) -> ctypes.c_void_p:
    handle = ctypes.c_void_p()
    _asked("nvmlDeviceGetHandleByIndex_v2", number, ctypes.byref(handle))
    return handle


def joules(device: Memory) -> float | None:
    """What a device has drawn since its driver was loaded; None where it does not count that."""
    total = ctypes.c_ulonglong()
    told = _asked(
        "nvmlDeviceGetTotalEnergyConsumption", _handle(device.number), ctypes.byref(total)
    )
    return total.value / 1000 if told else None


@cache
def driver() -> str:
    """The version of the accelerators' driver; empty where it cannot be asked."""
    version = ctypes.create_string_buffer(80)
    _asked("nvmlSystemGetDriverVersion", version, len(version))
    return version.value.decode(errors="replace")


def driver_fault() -> str:
    """Why torch cannot use the CUDA devices that the driver knows of; empty if nothing is known.

    A driver runs what was built for its own generation of CUDA or an earlier one.
    """
    needs, offers = torch_cuda(), ctypes.c_int()
    if needs == "":
        return "this torch was built without CUDA"
    known = _asked("nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(offers))
    if needs is None or not known or int(needs.partition(".")[0]) <= offers.value // 1000:
        return ""
    has = f"{offers.value // 1000}.{offers.value % 1000 // 10}"
    return f"its driver offers CUDA {has} and this torch was built for {needs}"


def torch_cuda() -> str | None:
    """The version of CUDA that the installed torch was built for.

    Returns:
        Empty for one without CUDA; None if it does not say. Told from its files: it is not
        imported.
    """
    spec = importlib.util.find_spec("torch")
    with suppress(OSError, AttributeError, TypeError):
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")  # type: ignore[union-attr, arg-type]
        told = re.search(r"^cuda\b[^=\n]*= *(?:'([\d.]+)'|None)", text, re.MULTILINE)
        return told and (told[1] or "")
    return None


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


@cache
def processor() -> str:
    """The processor's name, or its architecture where the system does not say it."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        told = re.search(r"^model name\s*: *(.+?) *$", text, re.MULTILINE)
        if told:
            return told[1]
    return platform.machine() or "a processor"


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
