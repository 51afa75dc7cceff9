"""Operations that torch makes of several passes over memory: fused where Triton can compile.

What is fused is compared with torch's own on small tensors before it is used, once a process. On a
CPU oneDNN applies a GELU to each tile of a product while it is in the processor's cache; torch has
that operation for its compiler, and not by a public name.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, silu

ONEDNN_LINEAR: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""A product with what follows it, on a CPU; None where torch was built without."""


class Kernels(NamedTuple):
    """Functions as ``fused_kernels`` describes them."""

    group_norm: Callable[..., Tensor]
    add_: Callable[[Tensor, Tensor, Tensor], Tensor]
    geglu: Callable[[Tensor, Tensor, Tensor], Tensor]
    swiglu: Callable[[Tensor, Tensor], Tensor]
    turned: Callable[[Tensor, Tensor, Tensor], Tensor]


def kernels(device: torch.device) -> Kernels:
    """The fastest that work on a device."""
    return _checked() or PLAIN if device.type == "cuda" else PLAIN


@cache
def _checked() -> Kernels | None:
    """Triton's on the current CUDA device, or None."""
    if importlib.util.find_spec("triton") is None:
        return None
    try:
        from int_bench.backbones.common import fused_kernels as fused

        given = Kernels(*(getattr(fused, name) for name in Kernels._fields))
        for name, difference in differences(given, torch.device("cuda")).items():
            if not difference <= TOLERANCE:
                raise ArithmeticError(f"{name} differs from torch's by {difference:.3g}")
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        warnings.warn(
            "Triton's kernels are not used on this GPU; torch computes the same in more passes "
            f"over memory, which takes longer. The reason: {reason}",
            stacklevel=2,
        )
        return None
    return given


TOLERANCE = 5e-3
"""Of what half precision rounds some times, as a share of one and the number."""


def differences(given: Kernels, device: torch.device) -> dict[str, float]:
    """How far each function is from the plain one in half precision: ``|a - b| / (1 + |b|)``."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        numbers = torch.randn(shape, generator=generator, device="cpu")
        return numbers.to(device, torch.float16)

    norm = nn.GroupNorm(4, 96).to(device, torch.float16).requires_grad_(False)
    x, line = drawn(2, 300, 96), drawn(96)
    angles = drawn(2, 5, 8).repeat(1, 1, 2)
    asked: dict[str, tuple[Any, ...]] = {
        "group_norm": (norm, x, drawn(2, 96), True),
        "add_": (x, drawn(2, 300, 96), line),
        "geglu": (x, drawn(64, 96) / 10, drawn(64)),
        "swiglu": (x, drawn(2, 300, 96)),
        "turned": (drawn(2, 5, 3, 16).transpose(1, 2), angles.cos(), angles.sin()),
    }
    gaps = {}
    for name, arguments in asked.items():
        pair = []
        for functions in (given, PLAIN):
            own = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
            pair.append(getattr(functions, name)(*own).float())
        gaps[name] = float(((pair[0] - pair[1]).abs() / (1 + pair[1].abs())).max())
    return gaps


def _group_norm(
    norm: nn.GroupNorm, x: Tensor, early: Tensor | None = None, activated: bool = False
) -> Tensor:
    flat = x if early is None else x.add_(early[:, None])
    groups = (len(x), norm.num_groups, -1)
    count = x.shape[1] * (x.shape[2] // norm.num_groups)
    mean = flat.mean(1, dtype=torch.float32).view(groups).mean(-1, keepdim=True)
    length = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float32)
    length = torch.linalg.vector_norm(length.view(groups), dim=-1, keepdim=True)
    variance = (length * length).div_(count).addcmul_(mean, mean, value=-1).clamp_(min=0)
    gain = norm.weight.view(1, *groups[1:]) * variance.add_(norm.eps).rsqrt_()
    shift = torch.addcmul(norm.bias.view(1, *groups[1:]), mean, gain, value=-1)
    rows = [term.flatten(1)[:, None] for term in (shift, gain)]
    normed: Tensor = torch.addcmul(rows[0], flat, rows[1], out=torch.empty_like(flat))
    return silu(normed) if activated else normed


def _add(x: Tensor, other: Tensor, bias: Tensor) -> Tensor:
    return x.add_(other).add_(bias)


def _geglu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each half in memory of its own: what is read in steps takes longer."""
    (values, gates), (shift, gate_shift) = weight.chunk(2), bias.chunk(2)
    return linear(x, values, shift).mul_(gelu(linear(x, gates, gate_shift)))


def _swiglu(first: Tensor, second: Tensor) -> Tensor:
    return silu(first).mul_(second)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half, cos, sin = x.shape[-1] // 2, cos[:, None], sin[:, None]
    turned = x * cos
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return turned


PLAIN = Kernels(_group_norm, _add, _geglu, _swiglu, _turned)


def perceptron(x: Tensor, first: nn.Linear, activation: nn.Module, second: nn.Linear) -> Tensor:
    """``second(activation(first(x)))``, (..., C) to (..., D); on a CPU the last bits may differ."""
    exact = isinstance(activation, nn.GELU) and activation.approximate == "none"
    plain = x.device.type == "cpu" and x.dtype == first.weight.dtype == torch.float32
    if ONEDNN_LINEAR is None or not (exact and plain) or torch.is_grad_enabled():
        answer: Tensor = second(activation(first(x)))
        return answer
    hidden = ONEDNN_LINEAR(x, first.weight, first.bias, "gelu", [], "none")
    fused: Tensor = ONEDNN_LINEAR(hidden, second.weight, second.bias, "none", [], "none")
    return fused
