"""The rate of large products: measured once for a device, and never what a file only says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from int_bench.backbones.common.precision import allow_tf32, whole_float32
from int_bench.backbones.flops import ceiling as module
from int_bench.backbones.flops.ceiling import ceiling, measured
from tests import phantom

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    module._remembered.cache_clear()
    yield tmp_path / "int-bench" / "ceilings.json"
    module._remembered.cache_clear()


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_a_rate_is_that_of_the_product(device):
    place = torch.device(device)
    with phantom.cuda() as there:
        started = module._now(place)
        rate = measured(place, torch.float32, side=256)
        assert 2 * 256**3 / rate <= module._now(place) - started
    assert there.now == 0  # the memory is given back


def test_it_is_measured_once_for_a_device_and_a_precision(cache, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "measured", lambda *what: asked.append(what) or 5e9)
    for precision in (torch.float32, torch.float32, torch.bfloat16):
        assert ceiling(CPU, precision, "EPYC") == 5e9
        module._remembered.cache_clear()
    assert asked == [(CPU, torch.float32), (CPU, torch.bfloat16)]
    name = f"EPYC, torch {torch.__version__}: float32"
    assert json.loads(cache.read_text())[name] == 5e9
    values = ("fast", -1.0, True, 1, 1.0, 10**400, 1e300, float("nan"), float("inf"))
    wrong = ["[]", "{", "[" * 10**5, *(json.dumps({name: value}) for value in values)]
    for text in wrong:
        cache.write_text(text)
        module._remembered.cache_clear()
        assert ceiling(CPU, torch.float32, "EPYC") == 5e9
    assert len(asked) == 2 + len(wrong)


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(cache, monkeypatch, put):
    monkeypatch.setattr(module, "measured", lambda *what: 5e9)
    cache.parent.mkdir()
    put(cache)
    assert ceiling(CPU, torch.float32, "EPYC") == 5e9


def test_without_a_home_it_is_measured(cache, monkeypatch):
    monkeypatch.setattr(module, "measured", lambda *what: 5e9)
    monkeypatch.setenv("XDG_CACHE_HOME", "~nobody-of-this-name/cache")
    assert ceiling(CPU, torch.float32, "EPYC") == 5e9


def test_tf32_has_a_rate_of_its_own_in_one_process(cache, monkeypatch):
    rates = iter([2e9, 8e9])
    monkeypatch.setattr(module, "measured", lambda *what: next(rates))
    with whole_float32():  # gives back what it finds
        for allowed, rate in ((False, 2e9), (True, 8e9), (False, 2e9)):
            allow_tf32(allowed)
            assert ceiling(torch.device("cuda"), torch.float32, "H100") == rate
    assert len(json.loads(cache.read_text())) == 2


def test_without_room_there_is_none_and_nothing_is_remembered(cache, monkeypatch):
    def full(*what):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(module, "measured", full)
    assert ceiling(CPU, torch.float32, "EPYC") is None and not cache.exists()
