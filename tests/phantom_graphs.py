"""CUDA graphs of a phantom device: what a capture records, and its replay with the values of then.

A replay reads and writes the memory that the capture saw. Memory from outside the capture that has
been freed meanwhile is refused; on a GPU it would hold anything.
"""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten


class _Slot(int):
    """A tensor that the capture itself made, by number."""


class Recording:
    """The operations of a capture. Its own tensors are held weakly: they are a pool's."""

    def __init__(self) -> None:
        self._steps: list[tuple[Any, Any, list[_Slot]]] = []
        self._made: dict[int, _Slot] = {}
        self._before: dict[int, tuple[Any, Any]] = {}
        self._live: list[weakref.ref[torch.Tensor]] = []
        self._outside: dict[int, tuple[weakref.ref[torch.Tensor], torch.Tensor]] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def note(self, kernel: Any, args: Any, kwargs: Any, out: Any) -> None:
        """One operation and what it gave; no phantoms among them."""
        leaves, shape = tree_flatten((args, kwargs))
        leaves = [self._place(leaf) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        slots = [self._slot(t) for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        self._steps.append((kernel, (leaves, shape), slots))

    def _place(self, tensor: torch.Tensor) -> Any:
        """What stands for a tensor in the record: its slot, or another view of its memory."""
        slot = self._known(tensor)
        if slot is not None:
            return slot
        if not self._is_outside(tensor):
            self._outside[id(tensor)] = weakref.ref(tensor), tensor.detach()
        return self._outside[id(tensor)][1]

    def _slot(self, tensor: torch.Tensor) -> _Slot:
        if self._is_outside(tensor):  # written in place
            return _Slot(-1)
        slot = self._known(tensor)
        if slot is None:
            slot = self._made[id(tensor)] = _Slot(len(self._live))
            self._live.append(weakref.ref(tensor))
        return slot

    def _known(self, tensor: torch.Tensor) -> _Slot | None:
        slot = self._made.get(id(tensor))
        return slot if slot is not None and self._live[slot]() is tensor else None

    def _is_outside(self, tensor: torch.Tensor) -> bool:
        return id(tensor) in self._outside and self._outside[id(tensor)][0]() is tensor

    def protect(self, leaves: list[Any]) -> None:
        """Remember what is in memory from outside before it is written: a capture runs nothing."""
        for tensor in leaves:
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                storage = tensor.untyped_storage()
                if self._known(tensor) is None and storage._cdata not in self._before:
                    self._before[storage._cdata] = storage, storage.clone()

    def restore(self) -> None:
        """Undo what the recorded operations wrote outside."""
        for storage, before in self._before.values():
            storage.copy_(before)
        self._before.clear()

    def check_memory(self) -> None:
        """See that somebody else still holds all memory from outside."""
        held: dict[int, list[torch.Tensor]] = {}
        for _, tensor in self._outside.values():
            held.setdefault(tensor.untyped_storage()._cdata, []).append(tensor)
        for key, tensors in held.items():
            storage = tensors[0].untyped_storage()  # one reference of its own
            if torch._C._storage_Use_Count(key) - 1 <= len(tensors):
                raise RuntimeError(
                    f"replay: memory that the capture used was freed ({storage.nbytes()} bytes)"
                )

    def replay(self) -> None:
        """Compute all operations again, in the same memory."""
        env: dict[int, torch.Tensor] = {}
        for kernel, (leaves, shape), slots in self._steps:
            known = [env[leaf] if isinstance(leaf, _Slot) else leaf for leaf in leaves]
            args, kwargs = tree_unflatten(known, shape)
            out = [t for t in tree_leaves(kernel(*args, **kwargs)) if isinstance(t, torch.Tensor)]
            for slot, fresh in zip(slots, out, strict=True):
                if slot >= 0:
                    env[slot] = self._in_place(slot, fresh)

    def _in_place(self, slot: int, fresh: torch.Tensor) -> torch.Tensor:
        kept = self._live[slot]()
        if kept is None or kept.is_meta:
            return fresh
        if kept.data_ptr() != fresh.data_ptr():
            kept.copy_(fresh)
        return kept


class Graph:
    """``torch.cuda.CUDAGraph`` of a device."""

    device: Any

    def __init__(self, *_: Any, **__: Any) -> None:
        self.recording = Recording()

    def replay(self) -> None:
        self.device.dispatches["graph"] += 1
        self.recording.check_memory()
        if self.device.values:
            with torch._C._DisableTorchDispatch():
                self.recording.replay()

    def reset(self) -> None:
        self.recording = Recording()


class Stream:
    """``torch.cuda.Stream`` and ``Event``: there is one order of work, nothing to wait for."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


_pools: dict[int, weakref.WeakSet[Graph]] = {}
_handles = itertools.count()
"""Of all devices: graphs outlive one."""


def patches(device: Any) -> Iterator[Any]:
    """``torch.cuda``'s graphs and streams on a phantom device."""

    @contextlib.contextmanager
    def capture(graph: Graph, pool: Any = None, stream: Any = None, **_: Any) -> Iterator[None]:
        pool = next(_handles) if pool is None else pool
        if pool in _pools and not _pools[pool]:
            raise RuntimeError(
                "use_count > 0 INTERNAL ASSERT FAILED: the pool went with its graphs"
            )
        _pools.setdefault(pool, weakref.WeakSet()).add(graph)
        launched = device.dispatches.copy()
        device.recording = graph.recording
        try:
            yield
        finally:
            device.recording = None
            graph.recording.restore()
            device.dispatches = launched  # recorded, not run

    changed = {
        "CUDAGraph": type("CUDAGraph", (Graph,), {"device": device}),
        "graph": capture,
        "Stream": Stream,
        "Event": Stream,
        "current_stream": lambda *_: Stream(),
        "device": lambda *_: contextlib.nullcontext(),
        "stream": lambda *_: contextlib.nullcontext(),
        "graph_pool_handle": lambda *_: next(_handles),
    }
    for name, value in changed.items():
        yield mock.patch.object(torch.cuda, name, value)
