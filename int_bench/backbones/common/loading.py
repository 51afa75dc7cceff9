"""Where weights come from, and what failing says: while they load and while they compute.

Every backbone loads through these few helpers, so that a missing, gated, corrupt or unsafe
checkpoint is one sentence with the next step, whichever library it is that complains.
"""

from __future__ import annotations

import fcntl
import gc
import hashlib
import os
import pickle
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import torch

import int_bench
from int_bench.backbones.common import zoo_files
from int_bench.core.files import expanded
from int_bench.errors import MissingAsset, OutOfMemory, UsageError, UserError

T = TypeVar("T")

ZOO_PREFIX = "zoo:"
_FILE_ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
_MEMORY_SIGNS = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
_DEVICE_SIGNS = (
    "illegal memory access",
    "device-side assert",
    "launch failure",
    "misaligned address",
    "illegal instruction",
    "ECC",
    "busy or unavailable",
    "initialization error",
    "unknown error",
    "no kernel image",
)
"""Of a CUDA error after which nothing computes on the device; others concern one call."""
_LONGEST_REASON = 160

_loaded: dict[tuple[Any, ...], Any] = {}
_loading = threading.RLock()
TURNS = "INT_BENCH_TURNS"
"""Set in the environment of a process that is one of several on its machine."""


def zoo_folder(name: str) -> Path:
    """The folder of a tiny model that ships in the package, whether it is there or not."""
    return Path(int_bench.__file__).parent / "zoo" / name


def resolve(checkpoint: str) -> str:
    """What a library's ``from_pretrained`` is to be given: a local path or a hub id.

    Args:
        checkpoint: ``zoo:NAME`` (shipped in the package), a local folder or file, or a hub id.

    Returns:
        The absolute path of the zoo folder, the local path with ``~`` expanded, or the hub id.

    Raises:
        MissingAsset: a zoo model or a local path that does not exist, or a zoo model that is not as
            it was shipped. Hub ids are not looked up.
    """
    if checkpoint.startswith(ZOO_PREFIX):
        name = checkpoint.removeprefix(ZOO_PREFIX)
        folder = zoo_folder(name)
        if not name or not folder.is_dir():
            raise MissingAsset(
                f"{checkpoint} not found: {folder}; next step: install the package again or run "
                f"`python -m int_bench.zoo.training {name}`."
            )
        zoo_files.verify(folder)
        return str(folder)
    path = expanded(checkpoint)
    if path.exists():
        return str(path)
    if _looks_local(checkpoint):
        raise MissingAsset(
            f"Checkpoint not found: {path}; next step: correct the path or give a hub id."
        )
    return checkpoint


def _looks_local(checkpoint: str) -> bool:
    """Whether a checkpoint that does not exist was meant as a path, not as a hub id (ORG/NAME)."""
    starts = checkpoint.startswith(("/", ".", "~"))
    return starts or checkpoint.endswith(_FILE_ENDINGS) or checkpoint.count("/") > 1


def cached_load(key: tuple[Any, ...], build: Callable[[], T]) -> T:
    """Loaded weights, shared by all backbones of this process that ask with an equal key.

    Args:
        key: what decides the loaded value: class, checkpoint, revision, dtype, device, ...
        build: loads it; called once per key. A failure is not remembered.
    """
    with _loading, _turn(key):
        if key not in _loaded:
            # Weights made inside inference mode could never be changed or compiled outside of it.
            with torch.inference_mode(False):
                _loaded[key] = build()
            gc.freeze()  # see the broker
        return cast(T, _loaded[key])


@contextmanager
def _turn(key: tuple[Any, ...]) -> Iterator[None]:
    """Workers on a machine load the same weights one after the other.

    From the second on, memory holds what the first has read. The lock is the kernel's, on a disk of
    the machine's own, and ends with its process.
    """
    if TURNS not in os.environ or key in _loaded:
        yield
        return
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
    with ExitStack() as stack:
        with suppress(OSError):  # who cannot wait for a turn loads at once
            path = Path(tempfile.gettempdir()) / f"int-bench-{os.getuid()}-{name}.turn"
            fcntl.flock(stack.enter_context(path.open("ab")), fcntl.LOCK_EX)
        yield


def forget_loaded() -> None:
    """Drop all shared weights.

    Their memory is free once no backbone holds them either and garbage has been collected.
    """
    with _loading:
        _loaded.clear()
    gc.unfreeze()  # or else models that refer to themselves would stay


@contextmanager
def load_errors(role: str, checkpoint: str) -> Iterator[None]:
    """Turn whatever a library raises while it loads a checkpoint into one sentence.

    Args:
        role: ``vlm``, ``inpainter``, ``detector``, ``segmenter`` or ``aligner``.
        checkpoint: as configured; it is what the sentence names.

    Raises:
        MissingAsset: not found, gated, offline, corrupt, of another kind, or a pickle with code.
        UsageError: a Python package is missing, or the model does not fit into memory.
    """
    try:
        yield
    except (UserError, OutOfMemory):
        raise
    except Exception as error:
        _explain(role, checkpoint, error)


def _explain(role: str, checkpoint: str, error: Exception) -> NoReturn:
    """Raise the sentence for a failed load; the library's error stays as its cause."""
    if _is_out_of_memory(error):
        raise UsageError(
            f"The {role} {checkpoint} does not fit into memory; next step: choose a smaller "
            f"backbone.{role}.checkpoint, another dtype or another device; `int-bench models plan` "
            "says what is needed."
        ) from error
    _refuse_failed_device(error)
    if isinstance(error, ModuleNotFoundError):
        raise UsageError(
            f"The {role} {checkpoint} needs the package {error.name!r}; "
            f"next step: `pip install {error.name}`."
        ) from error
    names = {type(link).__name__ for link in _chain(error)}
    if "GatedRepoError" in names:
        raise MissingAsset(
            f"The {role} {checkpoint} is gated; next step: accept its licence on its page, then "
            f"`hf auth login`, or set backbone.{role}.checkpoint=DIR."
        ) from error
    if any(isinstance(link, pickle.UnpicklingError) for link in _chain(error)):
        raise MissingAsset(
            f"The {role} {checkpoint} was refused, it is a pickle that is damaged or holds code; "
            f"next step: get its .safetensors version and set backbone.{role}.checkpoint to it."
        ) from error
    path = _local_path(checkpoint)
    if path is None and any(isinstance(link, OSError) for link in _chain(error)):
        raise missing(role, checkpoint) from error
    raise MissingAsset(
        f"The {role} checkpoint is not usable: {path or checkpoint} ({_reason(error)}); next step: "
        f"fetch it again or set backbone.{role}.checkpoint to a folder of the right kind."
    ) from error


def missing(role: str, checkpoint: str, words: str = "") -> MissingAsset:
    """The error for a hub checkpoint that is neither in the local cache nor reachable.

    ``words`` are the overrides that name it, where it was not named by itself.
    """
    words = words or f"backbone.{role}.checkpoint={checkpoint}"
    return MissingAsset(
        f"The {role} checkpoint is not found: {checkpoint}; next step: "
        f"`int-bench models fetch {words}` or set backbone.{role}.checkpoint=DIR."
    )


def refuse_incomplete(role: str, checkpoint: str, report: Mapping[str, Any]) -> None:
    """See that a checkpoint had all weights of its model: transformers only warns.

    Args:
        role: as in ``backbone.<role>``.
        checkpoint: as configured.
        report: of ``from_pretrained(..., output_loading_info=True)``.

    Raises:
        MissingAsset: some are missing or of another shape; the first is named.
    """
    mismatched = [key for key, *_ in report.get("mismatched_keys", ())]
    absent = sorted({*report["missing_keys"], *mismatched})
    if absent:
        raise MissingAsset(
            f"The {role} checkpoint is not usable: {checkpoint} lacks {len(absent)} weights of its "
            f"model, {absent[0]} first; next step: fetch it again or set "
            f"backbone.{role}.checkpoint."
        )


def _local_path(checkpoint: str) -> Path | None:
    """The existing file or folder that a checkpoint names, or None for a hub id."""
    if checkpoint.startswith(ZOO_PREFIX):
        return zoo_folder(checkpoint.removeprefix(ZOO_PREFIX))
    path = expanded(checkpoint)
    return path if path.exists() else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _reason(error: BaseException) -> str:
    """The first line that says something, with the error's type, cut to a readable length."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 3] + "..."


@contextmanager
def memory_guard() -> Iterator[None]:
    """Turn running out of device or host memory during a forward pass into ``OutOfMemory``.

    Raises:
        OutOfMemory: so that the broker asks again with half the batch.
        UserError: the device itself failed, which every later call would meet.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            _refuse_failed_device(error)
            raise
        # The frames of the failed pass would keep its tensors alive while the broker tries again.
        traceback.clear_frames(error.__traceback__)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemory(_reason(error)) from None


def _refuse_failed_device(error: BaseException) -> None:
    """Raise one sentence if a CUDA device has failed: nothing computes on it any more."""
    text = str(error)
    if "CUDA" not in text or not any(sign in text for sign in _DEVICE_SIGNS):
        return
    if "no kernel image" in text:
        raise UsageError(
            "This torch has no code for the GPU that is here, which is of another generation than "
            "it was built for; next step: install a torch that was, or set device=cpu."
        ) from error
    raise UserError(
        f"The GPU failed and computes nothing any more ({_reason(error)}); what is finished is "
        "safe; next step: give the same command again, or set device=cpu."
    ) from error


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that an allocation failed, on either kind of device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _MEMORY_SIGNS)
