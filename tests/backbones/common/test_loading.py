"""The loading helpers: paths, devices, precision, the shared weights, and what failures say."""

import fcntl
import gc
import json
import pickle
import tempfile
import threading
import weakref
from pathlib import Path

import pytest
import torch

from int_bench.backbones.common import loading
from int_bench.backbones.common.batching import chunks, positions_by
from int_bench.backbones.common.loading import (
    cached_load,
    forget_loaded,
    load_errors,
    memory_guard,
    resolve,
    zoo_folder,
)
from int_bench.backbones.common.lru import Lru
from int_bench.backbones.common.zoo_files import record
from int_bench.errors import MissingAsset, OutOfMemory, UsageError, UserError


@pytest.fixture(autouse=True)
def _nothing_loaded():
    forget_loaded()
    yield
    forget_loaded()


def test_the_zoo_is_inside_the_package(monkeypatch, tmp_path):
    import int_bench

    assert zoo_folder("sam") == Path(int_bench.__file__).parent / "zoo" / "sam"
    monkeypatch.setattr(int_bench, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "zoo" / "sam").mkdir(parents=True)
    record(tmp_path / "zoo")
    assert resolve("zoo:sam") == str(tmp_path / "zoo" / "sam")
    with pytest.raises(MissingAsset, match=r"zoo:clip not found: .*zoo\.training clip"):
        resolve("zoo:clip")
    with pytest.raises(MissingAsset):
        resolve("zoo:")


def test_a_local_path_wins_over_a_hub_id(tmp_path, monkeypatch):
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("org/name") == "org/name"
    assert resolve(str(tmp_path)) == str(tmp_path)
    assert resolve("llava-hf/llava-1.5-13b-hf") == "llava-hf/llava-1.5-13b-hf"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/org") == str(tmp_path / "org")


@pytest.mark.parametrize(
    "path", ["/nowhere", "./nowhere", "../nowhere", "~/nowhere", "a/b/c", "sam.pth"]
)
def test_a_path_that_does_not_exist_is_no_hub_id(path):
    with pytest.raises(MissingAsset, match=r"not found: .*next step"):
        resolve(path)


def test_equal_keys_share_and_failures_are_not_kept():
    built = []

    def build():
        built.append(1)
        if len(built) == 1:
            raise ValueError
        return object()

    with pytest.raises(ValueError):
        cached_load(("a", 1), build)
    first = cached_load(("a", 1), build)
    assert cached_load(("a", 1), build) is first
    assert cached_load(("a", 2), build) is not first
    assert len(built) == 3


def test_forgotten_weights_are_freed_even_if_they_refer_to_themselves():
    class Weights:
        def __init__(self):
            self.myself = self

    gone = weakref.ref(cached_load(("key",), Weights))
    forget_loaded()
    gc.collect()
    assert gone() is None


def test_weights_are_plain_tensors_even_if_first_used_in_inference_mode():
    with torch.inference_mode():
        assert not cached_load(("weights",), lambda: torch.zeros(1)).is_inference()


class LocalEntryNotFoundError(FileNotFoundError):
    """Named as the hub's own."""


class GatedRepoError(OSError):
    """Named as the hub's own."""


def wrapped(outer, inner):
    """One error raised while another was handled, as libraries do."""
    try:
        try:
            raise inner
        except type(inner):
            raise outer  # noqa: B904
    except type(outer) as error:
        return error


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            OSError("We couldn't connect\nto the hub"),
            MissingAsset,
            "int-bench models fetch backbone.vlm.checkpoint=org/name",
        ),
        (wrapped(RuntimeError("no"), LocalEntryNotFoundError("x")), MissingAsset, "models fetch"),
        (wrapped(OSError("x"), GatedRepoError("403")), MissingAsset, "gated.*licence"),
        (pickle.UnpicklingError("GLOBAL os.system"), MissingAsset, "refused.*holds code"),
        (json.JSONDecodeError("Expecting", "{", 1), MissingAsset, "not usable: org/name"),
        (KeyError("weights"), MissingAsset, "KeyError: 'weights'"),
        (ModuleNotFoundError("no", name="timm"), UsageError, "pip install timm"),
        (torch.OutOfMemoryError("2 GiB"), UsageError, "does not fit into memory"),
        (MemoryError(), UsageError, "does not fit into memory"),
        (RuntimeError("CUDA error: out of memory"), UsageError, "does not fit into memory"),
    ],
)
def test_a_failed_load_is_one_sentence(error, kind, sentence):
    with pytest.raises(kind, match=sentence) as caught, load_errors("vlm", "org/name"):
        raise error
    assert "org/name" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_a_local_folder_is_named_with_the_reason(tmp_path):
    reason = "Error no file named model.safetensors found\n" + "x" * 500
    with pytest.raises(MissingAsset) as caught, load_errors("vlm", str(tmp_path)):
        raise OSError(reason)
    message = str(caught.value)
    assert f"not usable: {tmp_path} (OSError: Error no file named model.safetensors" in message
    assert "backbone.vlm.checkpoint" in message
    assert "models fetch" not in message
    assert "\n" not in message


def test_user_errors_pass_through_unchanged():
    error = UsageError("said already")
    with pytest.raises(UsageError) as caught, load_errors("vlm", "org/name"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_running_out_of_memory_is_told_to_the_broker(error):
    with pytest.raises(OutOfMemory), memory_guard():
        raise error


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nHip"),
         UserError, "The GPU failed and computes nothing any more .*illegal memory access"),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"),
         UsageError, "no code for the GPU that is here.*device=cpu"),
    ],
)  # fmt: skip
def test_a_device_that_failed_ends_the_run_in_one_sentence(error, kind, sentence):
    for guard in (memory_guard(), load_errors("vlm", "org/name")):
        with pytest.raises(kind, match=sentence) as caught, guard:
            raise error
        assert "\n" not in str(caught.value)


def test_a_cuda_error_of_one_call_concerns_that_call():
    with pytest.raises(RuntimeError, match="invalid configuration"), memory_guard():
        raise RuntimeError("CUDA error: invalid configuration argument")


def test_the_tensors_of_the_failed_pass_are_freed():
    alive = []

    def forward():
        activation = torch.zeros(3)
        alive.append(weakref.ref(activation))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfMemory) as caught, memory_guard():
        forward()
    assert caught.value.__traceback__ is not None
    assert alive[0]() is None


def test_other_errors_pass_the_memory_guard():
    with pytest.raises(RuntimeError, match="shapes"), memory_guard():
        raise RuntimeError("shapes do not match")
    with memory_guard():
        pass


def test_a_real_allocation_failure_is_recognised():
    with pytest.raises(OutOfMemory), memory_guard():
        torch.empty(2**60, dtype=torch.uint8)


def test_the_cache_forgets_the_least_recently_used():
    kept = Lru[str, int](2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert [key for key in "abc" if key in kept] == ["a", "c"]
    assert kept.get("b") is None
    assert len(kept) == 2
    kept.clear()
    assert (len(kept), kept.weight) == (0, 0)


def test_the_cache_is_bounded_by_weight():
    kept = Lru[str, str](5, weigh=len)
    kept.put("a", "xx")
    kept.put("b", "xxx")
    assert kept.weight == 5
    kept.put("a", "x")
    assert kept.weight == 4
    kept.put("c", "xx")
    assert "b" not in kept
    assert kept.weight == 3
    kept.put("d", "x" * 9)
    assert len(kept) == 1, "the newest stays, however heavy"
    assert kept.weight == 9


def test_chunks_and_positions():
    assert [list(part) for part in chunks("abcde", 2)] == [["a", "b"], ["c", "d"], ["e"]]
    assert list(chunks([], 3)) == []
    assert positions_by("abca") == {"a": [0, 3], "b": [1], "c": [2]}


def test_workers_of_a_machine_load_the_same_weights_one_after_the_other(tmp_path, monkeypatch):
    """The second begins when the first has read them; other weights do not wait."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert loading.cached_load(("a", "alone"), lambda: 1) == 1
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(loading.TURNS, "1")
    reading, order = [], []

    def first():
        (turn,) = tmp_path.glob("*.turn")
        with turn.open("ab") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        reading.append(turn)
        return 2

    assert loading.cached_load(("a", "together"), first) == 2
    with reading[0].open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # another worker reads them
        loading._loaded.pop(("a", "together"))
        waits = threading.Thread(
            target=lambda: loading.cached_load(("a", "together"), lambda: order.append("second"))
        )
        waits.start()
        order.append("first")
    waits.join()
    assert order == ["first", "second"]
    for name in ("alone", "together"):
        loading._loaded.pop(("a", name))
