"""On CUDA, a layer of a language model in half as many launches: norms, rotations and gates.

The library's norm is eight launches, one for each operation of its formula, its rotation of queries
and keys is ten, its gate two. Here they are one, two and one (where nothing can be compiled, see
``kernels``: one, six and two), of the same formulas; in half precision they are rounded less often.
Other devices compute as the library does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import MethodType
from typing import Any

from torch import Tensor, nn

from int_bench.backbones.common.kernels import PLAIN, kernels

_ROTATION = "apply_rotary_pos_emb"


def fused(model: Any) -> Any:
    """A model whose norms, rotary positions and gates are few launches on CUDA.

    The rotation is a function of the library's module, and is exchanged there, once for all models.
    """
    for module in model.modules():
        name = type(module).__name__
        if name.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            module.forward = MethodType(_normed, module)
        elif name.endswith("MLP") and _is_gated(module):
            module.forward = MethodType(_gated, module)
        elif name.endswith("Attention") and type(module).__module__.startswith("transformers."):
            home = sys.modules[type(module).__module__]
            plain = getattr(home, _ROTATION, None)
            if plain is not None and not isinstance(plain, _Rotation):
                setattr(home, _ROTATION, _Rotation(plain))
    return model


def _is_gated(layer: nn.Module) -> bool:
    """Whether a perceptron is ``down(silu(gate(x)) * up(x))``."""
    parts = all(hasattr(layer, name) for name in ("gate_proj", "up_proj", "down_proj"))
    activation = type(getattr(layer, "act_fn", None)).__name__
    return parts and activation in ("SiLU", "SiLUActivation")


def _normed(self: Any, hidden_states: Tensor) -> Tensor:
    """The root mean square norm over the last dimension, times the weight."""
    if not hidden_states.is_cuda:
        return type(self).forward(self, hidden_states)  # type: ignore[no-any-return]
    weight: Tensor = self.weight
    return nn.functional.rms_norm(hidden_states, weight.shape, weight, self.variance_epsilon)


def _gated(self: Any, x: Tensor) -> Tensor:
    """``down(silu(gate(x)) * up(x))``."""
    if not x.is_cuda:
        return type(self).forward(self, x)  # type: ignore[no-any-return]
    gated = kernels(x.device).swiglu(self.gate_proj(x), self.up_proj(x))
    return self.down_proj(gated)  # type: ignore[no-any-return]


class _Rotation:
    """The library's function, with another way for tensors on CUDA."""

    def __init__(self, plain: Callable[..., Any]) -> None:
        self._plain = plain

    def __call__(
        self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
    ) -> Any:
        if not q.is_cuda or unsqueeze_dim != 1:
            return self._plain(q, k, cos, sin, unsqueeze_dim)
        size = q.shape[-1]
        fits = size & (size - 1) == 0 and cos.shape == (len(q), q.shape[2], size)
        turned = (kernels(q.device) if fits else PLAIN).turned
        cos, sin = cos.contiguous(), sin.contiguous()
        return turned(q, cos, sin), turned(k, cos, sin)
