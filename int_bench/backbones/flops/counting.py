"""How many operations the products of a model take: of matrices, convolutions, attention.

A product and its sum are two, attention is counted without regard to its mask, and all else counts
nothing: the usual measure of an architecture, and what a device's ceiling is stated in.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from int_bench.backbones.common.kernels import ONEDNN_LINEAR

T = TypeVar("T")
_aten = torch.ops.aten


def _native_attention(
    query: Tensor, key: Tensor, value: Tensor, width: int, *_: Any, **__: Any
) -> int:
    """Of ``nn.MultiheadAttention``'s fast path: four projections and two products of places."""
    places = query.shape[0] * query.shape[1]
    return int(8 * places * width**2 + 4 * places * key.shape[1] * width)


def _fused_linear(x: Tensor, weight: Tensor, *_: Any, out_val: Tensor, **__: Any) -> int:
    """Of a product that an activation is fused to."""
    return 2 * out_val.numel() * weight.shape[-1]


MORE: Mapping[Any, Callable[..., int]] = {
    ONEDNN_LINEAR: _fused_linear,
    _aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        _aten._scaled_dot_product_flash_attention
    ],
    _aten._native_multi_head_attention: _native_attention,
}
"""Of what torch's own list lacks: by operation, from its arguments and ``out_val``, its answer."""
_FORMULAS: Mapping[Any, Callable[..., int]] = {**flop_registry, **MORE}


_MADE_OF_PRODUCTS = {
    _aten.linear, _aten.matmul, _aten.einsum, _aten.tensordot, _aten.conv1d, _aten.conv2d,
    _aten.conv3d, _aten.conv_transpose2d, _aten.scaled_dot_product_attention,
}  # fmt: skip
"""What torch makes of several of them by the same code whether somebody looks or not; of others it
knows a second way, whose last bits differ."""


class Flops:
    """The operations of one model.

    Args:
        counts: False for a model that is compiled: torch compiles nothing while somebody looks.

    Attributes:
        total: so far; grows only.
    """

    def __init__(self, counts: bool = True) -> None:
        self.total = 0
        self._counts = counts
        self._known: dict[Hashable, float] = {}

    def of(
        self, key: Hashable, rows: int, compute: Callable[[], T], wanted: int | None = None
    ) -> T:
        """What ``compute`` gives; its operations are counted at its first call of a key.

        Args:
            key: on which the operations of a row depend.
            rows: that are computed.
            compute: takes as many operations for each row.
            wanted: rows that are no padding; None: all.
        """
        return self._of(self._known, key, rows, compute, rows if wanted is None else wanted)

    def _of(
        self,
        known: dict[Hashable, float],
        key: Hashable,
        rows: int,
        compute: Callable[[], T],
        wanted: int,
    ) -> T:
        if not self._counts:
            return compute()
        if key in known:
            answer = compute()
        else:
            with _Count() as count:
                answer = compute()
            known[key] = count.flops / rows
        self.total += round(known[key] * wanted)
        return answer

    @contextmanager
    def watching(self, modules: Mapping[str, nn.Module]) -> Iterator[None]:
        """Count all that some modules compute for as long as the block runs.

        What is known of a module stays with it, as its graphs do: another model with the same
        weights may find them captured, and what is replayed cannot be counted.

        Args:
            modules: of which the first argument is a batch, whose shape decides the operations.
        """
        own = [{k: v for k, v in vars(part).items() if k == "forward"} for part in modules.values()]

        def counted(known: Any, forward: Any, batch: Tensor, *more: Any, **named: Any) -> Any:
            compute = partial(forward, batch, *more, **named)
            return self._of(known, batch.shape[1:], len(batch), compute, len(batch))

        for module in modules.values():
            known = vars(module).setdefault("operations", {})
            module.forward = partial(counted, known, module.forward)
        try:
            yield
        finally:
            for module, before in zip(modules.values(), own, strict=True):
                del module.forward
                vars(module).update(before)


@contextmanager
def uncounted() -> Iterator[None]:
    """What is captured meanwhile is not computed."""
    _Count.paused += 1
    try:
        yield
    finally:
        _Count.paused -= 1


class _Count(TorchDispatchMode):
    """Lets everything happen as it does, and sums the formulas of what happens."""

    paused: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        named = kwargs or {}
        operation = func._overloadpacket
        if operation in _MADE_OF_PRODUCTS:
            with self:
                return func.decompose(*args, **named)
        answer = func(*args, **named)
        formula = None if self.paused else _FORMULAS.get(operation)
        if formula is not None:
            self.flops += formula(*args, **named, out_val=answer)
        return answer
