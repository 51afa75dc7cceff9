"""Device and precision of a model, and what happens to numbers that a precision cannot hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from int_bench.backbones.common.dtypes import dtype_name
from int_bench.errors import SampleError, UsageError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def pick_device(device: str = "auto") -> torch.device:
    """The device of a configuration value.

    Args:
        device: ``auto`` (the first CUDA device if there is one, else the CPU) or a name for
            ``torch.device`` such as ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        UsageError: the name is unknown, or it names a CUDA device that this machine does not have.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"Unknown device {device!r}; choose auto, cpu, cuda or cuda:N.") from error
    if picked.type == "cuda" and (picked.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"Device {device!r} is not here ({torch.cuda.device_count()} CUDA devices found); "
            f"choose auto or cpu."
        )
    return picked


def current(device: torch.device) -> AbstractContextManager[Any]:
    """Let a CUDA device be the one whose streams and graphs are meant."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def cuda_name(device: str) -> str:
    """What the maker calls a CUDA device; empty where it is not on this machine."""
    number = int(device.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        return ""
    return str(torch.cuda.get_device_name(number))


def pick_dtype(
    dtype: str, device: torch.device, declared: Mapping[str, str], checkpoint: str
) -> torch.dtype:
    """The precision of a configuration value.

    Args:
        dtype: ``float32``, ``bfloat16``, ``float16``, or ``auto``: that of exactness class E1.
        device: where the model will run.
        declared: ``PRECISION`` of the model's class.
        checkpoint: as configured.

    Raises:
        UsageError: the name is unknown.
    """
    if dtype == "auto":
        dtype = dtype_name(declared, "E1", checkpoint, cuda=device.type == "cuda")
    if dtype not in _DTYPES:
        raise UsageError(f"Unknown dtype {dtype!r}; choose auto, {', '.join(_DTYPES)}.")
    return _DTYPES[dtype]


def allow_tf32(allowed: bool) -> None:
    """Whether CUDA may round the factors of float32 products to TF32's ten bits, in this process.

    Unless told otherwise, torch lets convolutions do so.
    """
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


@contextmanager
def whole_float32() -> Iterator[None]:
    """Round no float32 factor while the block runs, whatever the process allows."""
    convolutions = torch.backends.cudnn.allow_tf32
    products = torch.backends.cuda.matmul.allow_tf32
    allow_tf32(False)
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products


def plain_attention(device: torch.device) -> None:
    """Keep cuDNN's attention off on CUDA, in this process.

    On Hopper torch prefers it for masks in half precision, and it builds a plan for every length of
    keys that it has not seen, some 25 to 35 ms each: more than a whole step of decoding takes.
    """
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def spelled(dtype: torch.dtype) -> str:
    """A dtype as configuration writes it: ``float32``."""
    return str(dtype).removeprefix("torch.")


def all_finite(tensor: Tensor) -> Tensor:
    """Whether no number of a tensor is NaN or infinite, as a flag on its device.

    One pass over the numbers, where ``isfinite(tensor).all()`` takes five: extremes keep a NaN.
    """
    if not tensor.numel():
        return torch.ones((), dtype=torch.bool, device=tensor.device)
    low, high = torch.aminmax(tensor)
    return (low > -torch.inf) & (high < torch.inf)


class FiniteCheck:
    """Sees that no number of a computation is NaN or infinite.

    Each tensor leaves one flag on its own device, and the device is waited for once, when the
    computation is over.
    """

    def __init__(self) -> None:
        self._flags: list[tuple[str, torch.dtype, Tensor]] = []
        self._read: list[bool] = []

    def see(self, name: str, tensor: Tensor, precision: torch.dtype | None = None) -> Tensor:
        """Take note of a tensor and hand it on.

        Args:
            name: what it holds, in the plural, for the message.
            tensor: any shape.
            precision: in which it was computed; None: its own.
        """
        self._flags.append((name, precision or tensor.dtype, all_finite(tensor)))
        return tensor

    @contextmanager
    def watching(self, modules: Mapping[str, nn.Module]) -> Iterator[None]:
        """Take note of all that some modules give, by its name, for as long as the block runs."""

        def hook(name: str) -> Any:
            return lambda module, inputs, output: self._see_first(name, output)

        handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _see_first(self, name: str, output: Any) -> None:
        """A module's output: a tensor, a tuple that begins with one, or one of the libraries'."""
        self.see(name, output if isinstance(output, Tensor) else output[0])

    def fetch(self, tensor: Tensor, *, brief: bool = False) -> Tensor:
        """A float32 tensor on the host, together with all flags: the device is waited for once.

        Args:
            tensor: any shape.
            brief: nothing refers to what is fetched for long, so that it may lie in pinned memory,
                to which a device copies ten times as fast.
        """
        flags = [flag for *_, flag in self._flags[len(self._read) :]]
        if tensor.device.type == "cpu" or not flags:
            return tensor.cpu()
        there = torch.cat([tensor.flatten(), torch.stack(flags).to(tensor.dtype)])
        if brief:
            both = torch.empty(there.shape, dtype=there.dtype, pin_memory=True).copy_(there)
        else:
            both = there.cpu()
        self._read += (both[tensor.numel() :] > 0).tolist()
        return both[: tensor.numel()].reshape(tensor.shape)

    def clear(self) -> None:
        """Forget what was seen."""
        self._flags.clear()
        self._read.clear()

    def verdict(self, role: str, model: str) -> None:
        """Judge all that was seen since the last verdict.

        Args:
            role: of the model, as in ``backbone.<role>``.
            model: its checkpoint.

        Raises:
            SampleError: something was not finite; the first such tensor is named, with its
                precision and what to set.
        """
        seen, read = list(self._flags), list(self._read)
        self.clear()
        later = [flag for *_, flag in seen[len(read) :]]
        if all(read) and (not later or bool(torch.stack(later).all())):
            return
        flags = [*read, *map(bool, later)]
        name, dtype = next(item[:2] for item, flag in zip(seen, flags, strict=True) if not flag)
        remedy = {
            torch.float16: f"float16 ends at 65504, set backbone.{role}.dtype to bfloat16 or "
            "float32",
            torch.bfloat16: f"set backbone.{role}.dtype=float32, and if that does not help, fetch "
            "the checkpoint again",
        }.get(dtype, f"fetch the checkpoint again or set backbone.{role}.checkpoint to another")
        raise SampleError(
            f"The {role} {model} computed {name} that are NaN or infinite in {spelled(dtype)}; "
            f"next step: {remedy}."
        )
