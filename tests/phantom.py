"""A CUDA device that is not there: tensors that say ``cuda:0`` and hold real values on the CPU.

Unlike torch's fake tensors these have values, so that code which reads them (texts, boxes, masks)
runs to its end. What a GPU refuses is refused: operands on two devices, ``.numpy()`` of a tensor
that was not copied back, a generator of another device, in a capture whatever a graph cannot hold.
What a GPU waits for is counted.

    with phantom.cuda() as device:      # this thread, and threads that start meanwhile
        model.to("cuda")
    device.dispatches, device.syncs     # Counters

With ``values=False`` numbers with a fraction have shapes only, so that models of any size fit.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from int_bench.backbones.common import kernels
from tests import phantom_graphs, phantom_shapes
from tests.phantom_layouts import LARGE, convolution, slow_passes
from tests.phantom_rules import FREE, INDEXING, READS, Call, Refused, refuse

CUDA = torch.device("cuda", 0)


class Phantom(torch.Tensor):
    """A tensor that says that it lies on ``cuda:0``; ``elem`` is where it really is."""

    elem: torch.Tensor
    __slots__ = ("elem",)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, elem):
        made = torch.Tensor._make_wrapper_subclass(
            cls, elem.size(), strides=elem.stride(), storage_offset=elem.storage_offset(),
            dtype=elem.dtype, layout=elem.layout, device=CUDA, requires_grad=elem.requires_grad,
        )  # fmt: skip
        made.elem = elem
        return made

    def __repr__(self):
        return f"Phantom({tuple(self.shape)}, {self.dtype})"

    def tolist(self):
        """To the host: a wrapper has no memory that torch's own could read."""
        _active[-1].wait("tolist")
        return phantom_shapes.readable(self.elem).tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _active[-1].run(func, args, kwargs or {})


class Device:
    """What the device was asked to do, and what it would have waited for.

    Attributes:
        dispatches: operations launched, by name; a replayed graph is one.
        syncs: what the host waited for.
        uploads: copies from the host.
        slow: passes over large tensors that lie in unlike layouts, by operation.
        attention: fused attention, by precision, mask and shapes.
        now, peak: bytes held.
    """

    def __init__(self, values: bool = True, capacity: int | None = None) -> None:
        self.values = values
        self.capacity = capacity
        self.dispatches: Counter[str] = Counter()
        self.syncs: Counter[str] = Counter()
        self.uploads: Counter[str] = Counter()
        self.slow: Counter[str] = Counter()
        self.large = LARGE
        self.attention: Counter[str] = Counter()
        self.recording: phantom_graphs.Recording | None = None
        self.now = self.peak = 0
        self._held: dict[int, int] = {}

    def clear(self) -> None:
        """Begin to count anew; the peak from what is held now."""
        for counter in (self.dispatches, self.syncs, self.uploads, self.slow, self.attention):
            counter.clear()
        self.peak = self.now

    def wait(self, name: str) -> None:
        """The host waits for the device."""
        if self.recording is not None:
            raise Refused(f"{name}: operation not permitted when stream is capturing")
        self.syncs[name] += 1

    def upload(self, name: str) -> None:
        """Something comes from the host's memory."""
        if self.recording is not None:
            raise Refused(f"{name}: a copy from unpinned memory is not permitted in a capture")
        self.uploads[name] += 1

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """One operation: refused, counted, and computed on the CPU."""
        call = Call.of(Phantom, func, args, kwargs)
        if kwargs.get("pin_memory"):
            kwargs = {**kwargs, "pin_memory": False}
        if call.on_host:
            return func(*args, **kwargs)
        refuse(call)
        self._count(call)
        bare_args, bare_kwargs = tree_map(_bare, (args, kwargs))
        kernel = KERNELS.get(call.name, func)
        if self.recording is not None and func._schema.is_mutable:
            self.recording.protect(tree_leaves((bare_args, bare_kwargs)))
        if self.values:
            out = kernel(*bare_args, **bare_kwargs)
        else:
            to_device = call.asked is None or call.asked.type == "cuda"
            out = phantom_shapes.run(call.name, kernel, bare_args, bare_kwargs, to_device)
        if self.recording is not None:
            self.recording.note(kernel, bare_args, bare_kwargs, out)
        operands = _tensors(bare_args, bare_kwargs, out)
        self.slow[call.name] += slow_passes(func, call.name, operands, self.large)
        if call.to_host:
            return phantom_shapes.readable(out)
        tree_map(self._hold, out)
        return _wrapped(func, args, kwargs, out)

    def _count(self, call: Call) -> None:
        name = call.name
        if call.to_host and call.ours:
            self.wait("to cpu")
        elif name == "copy_":
            self._count_copy(*call.leaves[:2])
        elif call.plain and not call.ours:
            self.upload(name)
        elif name in READS:
            self.wait(name)
        if call.by_truths:
            self.wait("boolean index")
        if name in INDEXING and call.plain:
            self.upload("index from cpu")
        self.dispatches[name] += name not in FREE

    def _count_copy(self, target: Any, source: Any) -> None:
        if not isinstance(target, Phantom):
            self.wait("copy_ to cpu")
        elif not isinstance(source, Phantom) and source.ndim:
            self.upload("copy_")

    def attend(self, query, key, value, mask=None, dropout=0.0, causal=False, **named):
        """Fused attention: the rules of the device, by the plain formula."""
        if any(x is not None and not isinstance(x, Phantom) for x in (query, key, value, mask)):
            raise Refused("scaled_dot_product_attention: operands on cuda:0 and cpu")
        kind = "none" if mask is None else str(mask.dtype).removeprefix("torch.")
        shapes = f"q={tuple(query.shape)} k={key.shape[-2]}"
        self.attention[f"{query.dtype} mask={kind} causal={causal} {shapes}"] += 1
        self.dispatches["scaled_dot_product_attention"] += 1
        if kind == "bool":
            self.dispatches["mask to float"] += 2
        bare = (query.elem, key.elem, value.elem, None if mask is None else mask.elem)
        kernel = phantom_shapes.attend if query.elem.is_meta else SDPA
        named = {"dropout_p": dropout, "is_causal": causal, **named}
        with torch._C._DisableTorchDispatch():
            out = kernel(*bare, **named)
        if self.recording is not None:
            self.recording.note(kernel, bare, named, out)
        return Phantom(self._hold(out))

    def _hold(self, out: Any) -> Any:
        if not isinstance(out, torch.Tensor):
            return out
        storage = out.untyped_storage()
        key = storage._cdata
        if key not in self._held:
            self._held[key] = size = storage.nbytes()
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, key)
            if self.capacity is not None and self.now > self.capacity:
                raise torch.OutOfMemoryError(
                    f"CUDA out of memory. {self.now / 2**30:.1f} GiB of {self.capacity / 2**30:.1f}"
                )
        return out

    def _drop(self, key: int) -> None:
        self.now -= self._held.pop(key, 0)


def _bare(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return torch.device("cpu")
    return leaf.elem if isinstance(leaf, Phantom) else leaf


def _tensors(*nested: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(nested) if isinstance(leaf, torch.Tensor)]


def _wrapped(func: Any, args: Any, kwargs: Any, out: Any) -> Any:
    """Outputs as phantoms; what was written in place is the argument itself."""
    arguments = func._schema.arguments
    if isinstance(out, torch.Tensor):
        for place, argument in enumerate(arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                target = args[place] if place < len(args) else kwargs.get(argument.name)
                if isinstance(target, torch.Tensor):
                    return target
    return tree_map(lambda x: Phantom(x) if isinstance(x, torch.Tensor) else x, out)


def _batch_norm(*args: Any) -> Any:
    """cuDNN's, in torch's own."""
    out, mean, deviation = torch.ops.aten.native_batch_norm(*args)
    return out, mean, deviation, torch.empty(0, dtype=torch.uint8)


def _heads(query, *args, **named):
    """The fast path of nn.MultiheadAttention; by shape where there are no values."""
    if query.is_meta:
        return torch.empty_like(query), None
    return torch.ops.aten._native_multi_head_attention(query, *args, **named)


KERNELS = {
    "cudnn_batch_norm": _batch_norm,
    "_native_multi_head_attention": _heads,
    "convolution": convolution,
}
"""Kernels that a CPU lacks, that know no shapes, or that choose another layout."""
SDPA = torch._C._nn.scaled_dot_product_attention


class _Dispatch(TorchDispatchMode):
    """Everything that reaches torch's dispatcher."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device
        # The key of torch's fake tensors: torch does not look for a driver while it is set.
        self._mode_key = torch._C._TorchDispatchModeKey.FAKE

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.device.run(func, args, kwargs or {})


class _Attention(TorchFunctionMode):
    """Fused attention asks for a driver before it dispatches."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is SDPA and any(isinstance(x, Phantom) for x in (*args, *kwargs.values())):
            names = {"attn_mask": "mask", "dropout_p": "dropout", "is_causal": "causal"}
            return self.device.attend(*args, **{names.get(k, k): v for k, v in kwargs.items()})
        return func(*args, **kwargs)


_active: list[Device] = []


@contextlib.contextmanager
def cuda(
    free: int = 40 * 2**30,
    total: int = 80 * 2**30,
    values: bool = True,
    capacity: int | None = None,
) -> Iterator[Device]:
    """One CUDA device for this thread and those that start meanwhile.

    Args:
        free: what ``mem_get_info`` tells, less what is held meanwhile.
        total: the same.
        values: False gives numbers with a fraction shapes only.
        capacity: bytes beyond which an allocation raises ``OutOfMemoryError``.
    """
    device = Device(values, capacity)
    _active.append(device)
    # Without a driver: a guard that does nothing, as for torch's fake tensors.
    torch._C._ensureCUDADeviceGuardSet()
    told = {
        "_lazy_init": None, "is_available": True, "device_count": 1, "current_device": 0,
        "is_bf16_supported": True, "synchronize": None, "empty_cache": None,
        "get_device_capability": (9, 0), "get_device_name": "phantom", "reset_peak_memory_stats": 0,
        "is_current_stream_capturing": False,
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        for name, value in told.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, lambda *_, v=value, **__: v))
        for patch in (
            mock.patch.object(torch.cuda, "mem_get_info", lambda *_: (free - device.now, total)),
            mock.patch.object(torch.cuda, "max_memory_allocated", lambda *_: device.peak),
            # Wrappers cannot be views in inference mode; without gradients all else is the same.
            mock.patch.object(
                torch, "inference_mode", lambda on=True: torch.set_grad_enabled(not on)
            ),
            mock.patch.object(kernels, "_checked", lambda: None),  # nothing compiles for it
            *phantom_graphs.patches(device),
            _threads(device),
        ):
            stack.enter_context(patch)
        before = torch._C._only_lift_cpu_tensors()
        stack.callback(torch._C._set_only_lift_cpu_tensors, before)
        # Module.to makes new parameters: the data of the old ones cannot become phantoms.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, False)
        stack.enter_context(_modes(device))
        try:
            yield device
        finally:
            _active.pop()


@contextlib.contextmanager
def _modes(device: Device) -> Iterator[None]:
    torch._C._set_only_lift_cpu_tensors(True)  # belongs to the thread
    with _Dispatch(device), _Attention(device):
        yield


def _threads(device: Device) -> Any:
    """Threads that start meanwhile compute on the phantom too: a mode belongs to one thread."""
    run = threading.Thread.run

    def with_modes(self: threading.Thread) -> None:
        with _modes(device):
            run(self)

    return mock.patch.object(threading.Thread, "run", with_modes)
