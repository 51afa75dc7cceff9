"""CUDA devices as the driver tells of them, and what a user is told where they cannot be used."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from int_bench.config import load_config
from int_bench.config.needs import devices, hardware
from int_bench.runs.provenance import device

H100, T4 = ("NVIDIA H100 80GB HBM3", 85 * 10**9), ("Tesla T4", 16 * 10**9)


class Driver:
    """NVML's functions, as ctypes calls them."""

    def __init__(self, *gpus, cuda=13000, joules=None):
        self._gpus, self._cuda, self._joules = gpus, cuda, joules

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = len(self._gpus)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, number, handle):
        handle._obj.value = number + 1
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle, usage):
        usage._obj.total = usage._obj.free = self._gpus[handle.value - 1][1]
        return 0

    def nvmlDeviceGetName(self, handle, name, length):
        name.value = self._gpus[handle.value - 1][0].encode()
        return 0

    def nvmlSystemGetCudaDriverVersion_v2(self, version):
        version._obj.value = self._cuda
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, total):
        if self._joules is None:
            return 3  # not supported
        total._obj.value = 1000 * self._joules
        return 0


@pytest.fixture
def machine(monkeypatch):
    """Makes a machine with these GPUs, and a torch that was built for some CUDA."""

    def make(*gpus, torch="13.0", **known):
        driver = Driver(*gpus, **known) if gpus else None
        monkeypatch.setattr(hardware, "_nvml", lambda: driver)
        monkeypatch.setattr(hardware, "torch_cuda", lambda: torch)
        monkeypatch.setattr(devices.exactness, "_is_cuda", lambda d: d != "cpu" and bool(gpus))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
        hardware.cuda_devices.cache_clear()

    yield make
    hardware.cuda_devices.cache_clear()


def nodes(*overrides):
    return load_config(["models=tiny", *overrides]).backbone


def test_the_driver_names_devices_and_their_memory(machine, monkeypatch):
    machine(H100, T4, joules=5000)
    first, second = hardware.cuda_devices()
    assert (first.name, first.total, second.name) == (*H100, "Tesla T4")
    assert hardware.joules(second) == 5000
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    hardware.cuda_devices.cache_clear()
    assert [known.number for known in hardware.cuda_devices()] == [1]


def test_what_the_driver_does_not_count_is_not_known(machine):
    machine(T4)
    assert hardware.joules(hardware.cuda_devices()[0]) is None
    machine()
    assert hardware.cuda_devices() is None
    assert hardware.joules(hardware.Memory("T4", 1, 1)) is None


def test_kinds_in_an_order_of_their_own_are_not_guessed(machine, monkeypatch):
    machine(H100, T4)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert hardware.cuda_devices() is None


@pytest.mark.parametrize(
    ("gpus", "known", "asked", "sentence"),
    [
        ((H100,), {}, "cuda:7", "cuda:7 is asked for and this process sees 1 CUDA device (NVIDIA"),
        ((H100, T4), {}, "cuda:2", "sees 2 CUDA devices (NVIDIA H100 80GB HBM3, Tesla T4)"),
        ((), {}, "cuda", "cuda is asked for and this machine has no CUDA device"),
        ((T4,), {"cuda": 12020}, "cuda", "its driver offers CUDA 12.2 and this torch was built f"),
        ((T4,), {"torch": ""}, "cuda:0", "and this torch was built without CUDA"),
    ],
)
def test_a_device_that_cannot_be_used_is_one_sentence(
    command, machine, monkeypatch, gpus, known, asked, sentence
):
    machine(*gpus, **known)
    monkeypatch.setattr(devices.Path, "glob", lambda *_: iter(()))
    code, _, err = command("run", f"device={asked}", "--dry-run")
    assert code == 2 and len(err.splitlines()) == 1
    assert sentence in err and "device=auto or device=cpu" in err


@pytest.mark.parametrize("known", [{"torch": None}, {"cuda": 12020, "torch": "12.8"}])
def test_a_driver_of_the_generation_that_torch_was_built_for_is_new_enough(machine, known):
    machine(T4, **known)
    assert hardware.driver_fault() == ""
    assert not list(devices.refusals(nodes("device=cuda")))


def test_a_gpu_that_auto_passes_over_is_said(machine, monkeypatch):
    machine(T4, cuda=11040)
    monkeypatch.setattr(devices.exactness, "_is_cuda", lambda _: False)
    assert devices.unused(nodes()).startswith("Tesla T4 is not used, a CPU computes: its driver")
    assert devices.unused(nodes("device=cpu")) == ""


def test_of_two_kinds_it_is_said_which_computes(machine):
    machine(H100, T4)
    told = devices.idle(nodes("device=cuda:1"))
    assert told.startswith("cuda:1 (Tesla T4, 16.0 GB) computes and cuda:0 (NVIDIA H100")
    assert device(nodes("device=cuda:1")) == "Tesla T4"
    assert devices.idle(nodes("device=cpu")) == ""
    machine(T4, T4)
    assert "1 of 2 GPUs" in devices.idle(nodes("device=cuda"))
    assert device(nodes("device=cuda")) == "Tesla T4"


def test_cuda_is_told_to_count_as_the_driver_does(monkeypatch):
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    hardware.count_as_the_driver()
    assert hardware.os.environ["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    hardware.count_as_the_driver()
    assert hardware.os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_the_cuda_of_torch_is_told_from_its_files(monkeypatch, tmp_path):
    for line, told in (("cuda: Optional[str] = '13.0'", "13.0"), ("cuda = None", ""), ("", None)):
        (tmp_path / "version.py").write_text(f"__version__ = '2.14'\n{line}\nhip = None\n")
        spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
        monkeypatch.setattr(hardware.importlib.util, "find_spec", lambda _, spec=spec: spec)
        assert hardware.torch_cuda() == told


def test_a_library_that_is_no_driver_is_none():
    assert hardware._asked("nvmlNoSuchFunction", ctypes.c_int()) is False
