"""Which CUDA devices the models of a configuration compute on, and what stands in their way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from int_bench.config import binding, exactness
from int_bench.config.exactness import Nodes
from int_bench.config.needs.hardware import Memory, cuda_devices, driver_fault
from int_bench.core.text import in_bytes, many


def number_of(device: str) -> int:
    """The number in a configuration's device; that of the first where it says none.

    >>> number_of("cuda:1"), number_of("cuda"), number_of("auto")
    (1, 0, 0)
    """
    return int(device.partition(":")[2] or 0)


def used(nodes: Nodes) -> set[str]:
    """The CUDA devices that models compute on, as they are configured; ``auto`` is the first."""
    names = {_device(node) for node in nodes.values() if exactness.node_on_cuda(node)}
    return {f"cuda:{number_of(name)}" for name in names}


def computing(nodes: Nodes) -> tuple[Memory, ...] | None:
    """The CUDA devices that models compute on, each once.

    Returns:
        Empty where all compute on a CPU or elsewhere; None where the driver cannot be asked.
    """
    numbers = sorted(map(number_of, used(nodes)))
    here = cuda_devices() if numbers else ()
    return None if here is None else tuple(here[n] for n in numbers if n < len(here))


def idle(nodes: Nodes) -> str:
    """A sentence where devices have nothing to do while others compute; else empty."""
    here, busy = cuda_devices() or (), computing(nodes) or ()
    if not busy or len(busy) == len(here):
        return ""
    if len({device.name for device in here}) == 1:
        return f"{len(busy)} of {len(here)} GPUs computes; executor=ray takes all of them."
    names: dict[bool, list[str]] = {True: [], False: []}
    for number, device in enumerate(here):
        text = f"cuda:{number} ({device.name}, {in_bytes(device.total)})"
        names[device in busy].append(text)
    return (
        f"{', '.join(names[True])} computes and {', '.join(names[False])} does not: GPUs of "
        "different kinds agree up to rounding only; device=cuda:N chooses."
    )


def refusals(nodes: Nodes) -> Iterator[tuple[str, str]]:
    """What is wrong with the CUDA devices that are asked for by name, and what mends it."""
    asked: dict[str, list[str]] = {}
    for role, node in nodes.items():
        if _device(node).startswith("cuda") and _takes_device(node):
            asked.setdefault(_device(node), []).append(role)
    for device, roles in asked.items():
        key = "device" if len(roles) > 1 else f"backbone.{roles[0]}.device"
        wrong = _wrong_with(device)
        if wrong:
            mends = "update the driver, or " if "driver" in wrong else ""
            yield f"{device} is asked for and {wrong}", f"{mends}{key}=auto or {key}=cpu"


def unused(nodes: Nodes) -> str:
    """Why ``auto`` passes over a GPU that is here, as a sentence; empty if it does not."""
    here, fault = cuda_devices(), driver_fault()
    automatic = any(_device(node) == "auto" and _takes_device(node) for node in nodes.values())
    if not here or not fault or not automatic:
        return ""
    return f"{here[0].name} is not used, a CPU computes: {fault}"


def _wrong_with(device: str) -> str:
    here = cuda_devices()
    if here is None:
        there = any(Path("/dev").glob("nvidia*"))
        return "" if there else "this machine has no CUDA device"
    if number_of(device) >= len(here):
        names = f" ({', '.join(known.name for known in here)})" if here else ""
        return f"this process sees {many(len(here), 'CUDA device')}{names}"
    return driver_fault()


def _device(node: Mapping[str, Any]) -> str:
    return str(node.get("device", "auto"))


def _takes_device(node: Mapping[str, Any]) -> bool:
    return "device" in (binding.signature(str(node[binding.TARGET])) or {})
