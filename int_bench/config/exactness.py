"""Exactness classes: what a run promises about its numbers, and the precision that follows.

``E0``
    Float32 on a CPU, one request per call: the same bits in any company, order and shard.
``E1``
    Batches, in the precision in which a checkpoint is published: float32 for SAM, GroundingDINO and
    CLIP, float16 on CUDA for LLaVA and Stable Diffusion. The same mathematics; rounding may differ.
``E2``
    On CUDA lower precision than published, as far as at least 99.9 % of the pixels of hard masks
    stay as they are: products of SAM's image encoder and GroundingDINO in float16, TF32 for what
    is in float32. On a CPU as E1, unless a model's ``dtype`` says otherwise.

A class of models declares its precision by exactness class as ``PRECISION`` (float32 where it says
nothing) and whether it computes elsewhere as ``REMOTE``; both are read from its source.

``auto`` is E2 where a model computes on CUDA, else the strictest class that every model can keep.
E0 is never kept on CUDA, where nothing promises that a kernel, chosen by shape and free memory,
rounds the same way twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from int_bench.backbones.common.dtypes import dtype_name
from int_bench.config import binding
from int_bench.config.needs.hardware import count_as_the_driver, cuda_devices, driver_fault
from int_bench.errors import UsageError

CLASSES = ("E0", "E1", "E2")
Nodes = Mapping[str, Mapping[str, Any]]
"""Constructor arguments of the models, by role."""

_ACCELERATORS = ("nvidia*", "nvhost*", "nvmap", "kfd", "dxg")
"""Device files without which no CUDA device can be there."""


@dataclass(frozen=True)
class _Need:
    """The strictest class that a model can keep, and what stands in the way of a stricter one."""

    least: str
    cause: str = ""
    remedy: str = ""


def resolve(choice: str, nodes: Nodes) -> tuple[str, dict[str, dict[str, Any]]]:
    """The class of a run, and its models with every ``dtype: auto`` made concrete.

    Args:
        choice: ``auto``, ``E0``, ``E1`` or ``E2``.
        nodes: the models' constructor arguments by role.

    Raises:
        UsageError: a model cannot keep the class that was asked for; the sentence names the key.
    """
    needs = {role: _need(role, node) for role, node in nodes.items()}
    kept = choice if choice != "auto" else _usual(needs.values(), on_cuda(nodes))
    for need in needs.values():
        if need.least > kept:
            raise UsageError(
                f"exactness={choice} cannot be kept with {need.cause}; {need.remedy} or choose "
                f"exactness={need.least}."
            )
    return kept, {role: _with_dtype(node, kept) for role, node in nodes.items()}


def on_cuda(nodes: Nodes) -> bool:
    """Whether any of the models computes on a CUDA device."""
    return any(node_on_cuda(node) for node in nodes.values())


def _usual(needs: Iterable[_Need], cuda: bool) -> str:
    """What ``auto`` means."""
    return "E2" if cuda else max(("E0", *(need.least for need in needs)))


def pinned(nodes: Nodes) -> dict[str, dict[str, Any]]:
    """The models with ``device: auto`` as this machine has it, for workers on others."""
    return {
        role: {**node, "device": "cuda" if node_on_cuda(node) else "cpu"}
        if node.get("device") == "auto"
        else dict(node)
        for role, node in nodes.items()
    }


def cuda_names(nodes: Nodes) -> list[str]:
    """What the makers call the CUDA devices that models compute on; empty if torch sees none."""
    asked = [str(node.get("device", "auto")) for node in nodes.values() if node_on_cuda(node)]
    if not asked:
        return []
    from int_bench.backbones.common.precision import cuda_name  # imports torch

    return [name for name in map(cuda_name, asked) if name]


def _need(role: str, node: Mapping[str, Any]) -> _Need:
    dtype = node.get("dtype", "auto")
    if dtype in ("float16", "bfloat16"):
        least = "E1" if dtype == "float16" and _published_in_half(node) else "E2"
        return _Need(least, f"backbone.{role}.dtype={dtype}", "set it to auto")
    if node_on_cuda(node):
        cause = f"backbone.{role}.device={node.get('device', 'auto')}, a CUDA device"
        return _Need("E1", cause, "set device=cpu")
    if binding.constant(str(node[binding.TARGET]), "REMOTE", False):
        cause = f"backbone.{role}.model={node.get('model')}, which computes elsewhere"
        return _Need("E1", cause, "take a local model")
    return _Need("E0")


def _with_dtype(node: Mapping[str, Any], kept: str) -> dict[str, Any]:
    """The node with the precision of a class, where it takes one and was given none."""
    accepted = binding.signature(str(node[binding.TARGET])) or {}
    if "dtype" not in accepted or node.get("dtype", "auto") != "auto":
        return dict(node)
    return {**node, "dtype": _precision(node, kept)}


def _precision(node: Mapping[str, Any], kept: str) -> str:
    """The precision of a class on the device of a model."""
    declared = binding.constant(str(node[binding.TARGET]), "PRECISION", {})
    return dtype_name(declared, kept, str(node.get("checkpoint", "")), cuda=node_on_cuda(node))


def _published_in_half(node: Mapping[str, Any]) -> bool:
    """Whether a model was published in float16; those that ship here compute in float32."""
    precision = binding.constant(str(node[binding.TARGET]), "PRECISION", {})
    shipped = str(node.get("checkpoint", "")).startswith("zoo:")
    return precision.get("E1") == "float16" and not shipped


def node_on_cuda(node: Mapping[str, Any]) -> bool:
    """Whether a model computes on a CUDA device."""
    accepted = binding.signature(str(node[binding.TARGET])) or {}
    return "device" in accepted and _is_cuda(str(node.get("device", "auto")))


@cache
def _is_cuda(device: str) -> bool:
    """Whether a configuration's device is CUDA; torch is asked where the driver cannot be."""
    if device != "auto":
        return device.startswith("cuda")
    if not any(next(Path("/dev").glob(name), None) for name in _ACCELERATORS):
        return False
    count_as_the_driver()
    devices = cuda_devices()
    if devices is not None:
        return bool(devices) and not driver_fault()
    # Imports torch, which knows what other drivers offer.
    from int_bench.backbones.common.precision import pick_device

    return bool(pick_device("auto").type == "cuda")
