"""On CUDA, a layer of a language model in half as many launches: norms and rotations.

The library's norm is eight launches, one for each operation of its formula, and its rotation of
queries and keys is ten. Here they are one and six, of the same formulas; in half precision they are
rounded less often. Other devices compute as the library does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import MethodType
from typing import Any

from torch import Tensor, nn

_ROTATION = "apply_rotary_pos_emb"


def fused(model: Any) -> Any:
    """A model whose RMS norms and rotary positions are few launches where its tensors are on CUDA.

    The rotation is a function of the library's module, and is exchanged there, once for all models.
    """
    for module in model.modules():
        name = type(module).__name__
        if name.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            module.forward = MethodType(_normed, module)
        elif name.endswith("Attention") and type(module).__module__.startswith("transformers."):
            home = sys.modules[type(module).__module__]
            plain = getattr(home, _ROTATION, None)
            if plain is not None and not isinstance(plain, _Rotation):
                setattr(home, _ROTATION, _Rotation(plain))
    return model


def _normed(self: Any, hidden_states: Tensor) -> Tensor:
    """The root mean square norm over the last dimension, times the weight."""
    if not hidden_states.is_cuda:
        return type(self).forward(self, hidden_states)  # type: ignore[no-any-return]
    weight: Tensor = self.weight
    return nn.functional.rms_norm(hidden_states, weight.shape, weight, self.variance_epsilon)


class _Rotation:
    """The library's function, with another way for tensors on CUDA."""

    def __init__(self, plain: Callable[..., Any]) -> None:
        self._plain = plain

    def __call__(
        self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
    ) -> Any:
        if not q.is_cuda:
            return self._plain(q, k, cos, sin, unsqueeze_dim)
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        return _rotated(q, cos, sin), _rotated(k, cos, sin)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs (x_i, x_{i + d/2}) turned by their angles; the halves of cos and sin are equal."""
    half = x.shape[-1] // 2
    turned = x * cos
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return turned
