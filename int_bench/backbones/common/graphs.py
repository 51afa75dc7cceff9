"""CUDA graphs: what a model launches for given shapes, remembered once and launched as one.

A graph remembers addresses. What goes in is copied to where it was when the graph was captured, and
what comes out stands there until the next replay.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from int_bench.backbones.flops.counting import uncounted

T = TypeVar("T")

KEPT = 24
"""Shapes of which a graph is kept; the least recently used one goes."""


class Pool:
    """Memory that graphs share which never run side by side."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._graphs: WeakSet[Any] = WeakSet()

    def capture(self, compute: Callable[[], Any]) -> Any:
        """The graph of a computation on fixed addresses; where there can be none, what computes it.

        Args:
            compute: depends on no value; ran once before, so that the libraries have what they
                allocate.

        Returns:
            Something with ``replay()``.
        """
        graph = torch.cuda.CUDAGraph()
        if not self._graphs:  # the memory of a handle ends with the last graph that used it
            self._handle = torch.cuda.graph_pool_handle()
        try:
            # What other threads ask of CUDA meanwhile does not matter.
            mode = "thread_local"
            with uncounted(), torch.cuda.graph(graph, self._handle, capture_error_mode=mode):
                compute()
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            warnings.warn(
                f"A CUDA graph could not be captured; its operations are launched piece by piece, "
                f"which takes longer and gives the same. The reason: {reason}",
                stacklevel=2,
            )
            return _Plain(compute)
        self._graphs.add(graph)
        return graph


@dataclass(frozen=True)
class _Plain:
    """In place of a graph."""

    replay: Callable[[], Any]


_pools: defaultdict[int, Pool] = defaultdict(Pool)


def shared_pool() -> Pool:
    """That of all models on the current device: one thread asks them, so graphs run in turn."""
    return _pools[torch.cuda.current_device()]


class Replayed:
    """A function of tensors, plain at its first call with given shapes and replayed from then on.

    What else it is given, by name, belongs to the graph as shapes do.

    The tensor that it gives is overwritten by the next call.
    """

    def __init__(self, compute: Callable[..., Tensor]) -> None:
        self._compute = compute
        self._known: OrderedDict[tuple[Any, ...], _Captured] = OrderedDict()

    def __call__(self, *tensors: Tensor, **given: Hashable) -> Tensor:
        """``compute(*tensors, **given)``; all are on one CUDA device."""
        shapes = ((tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors)
        key, compute = (*shapes, *given.items()), partial(self._compute, **given)
        captured = self._known.get(key)
        if captured is None:
            constants = _Constants()
            with constants, _holding(constants.held):
                answer = compute(*tensors)
                self._known[key] = _Captured(compute, tensors, constants)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
            return answer
        self._known.move_to_end(key)
        return captured.replay(tensors)

    def clear(self) -> None:
        """Give the memory of all graphs back."""
        self._known.clear()


def held(key: Hashable, find: Callable[[], T]) -> T:
    """What a graph that is being captured reads: found before, and kept as long as the graph.

    Args:
        key: by which the capture knows it again, whatever became of it elsewhere.
        find: the value, or makes it.
    """
    for values in _held:
        if key in values:
            known: T = values[key]
            return known
    value = find()
    for values in _held:
        values[key] = value
    return value


_held: list[dict[Hashable, Any]] = []


@contextmanager
def _holding(values: dict[Hashable, Any]) -> Iterator[None]:
    _held.append(values)
    try:
        yield
    finally:
        _held.pop()


class _Constants(TorchFunctionMode):
    """Numbers that a library brings to the device each time are brought once, before a capture."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, Tensor] = {}
        self.held: dict[Hashable, Any] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in (torch.tensor, torch.as_tensor) or isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        key = repr((args, kwargs))
        if key not in self._known:
            self._known[key] = func(*args, **kwargs)
        return self._known[key]


class _Captured:
    """The graph for one set of shapes, and where it reads and writes."""

    def __init__(
        self,
        compute: Callable[..., Tensor],
        tensors: tuple[Tensor, ...],
        constants: _Constants,
    ) -> None:
        self._constants = constants  # the graph reads them where they are
        self._inputs = [tensor.clone() for tensor in tensors]
        self._output: Tensor
        self._graph = shared_pool().capture(lambda: self._run(compute))

    def _run(self, compute: Callable[..., Tensor]) -> None:
        self._output = compute(*self._inputs)

    def replay(self, tensors: tuple[Tensor, ...]) -> Tensor:
        for place, tensor in zip(self._inputs, tensors, strict=True):
            place.copy_(tensor)
        self._graph.replay()
        return self._output
