"""Exactness classes: what auto chooses, which precision follows, and what is refused by name."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace

import pytest

from int_bench import config
from int_bench.config import exactness
from int_bench.config.identity import digest, identity
from int_bench.config.needs.hardware import Memory
from int_bench.config.schedule import Schedule, schedule
from int_bench.errors import UsageError

CPU = "device=cpu"
NO_BOX = "method=empty"


def dtypes(loaded):
    return {role: node["dtype"] for role, node in loaded.backbone.items() if "dtype" in node}


def digest_of(*overrides):
    return digest(identity(config.load_config(overrides), {}))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([CPU], "E0"),
        (["device=cuda"], "E2"),
        (["device=cuda", "exactness=E1"], "E1"),
        (["device=cuda:1", "models=paper"], "E2"),
        ([CPU, "backbone.vlm.device=cuda"], "E2"),
        ([CPU, "models=paper"], "E0"),
        ([CPU, "models=small"], "E1"),  # its inpainter is in float16
        ([CPU, "backbone.segmenter.dtype=bfloat16"], "E2"),
        ([CPU, "backbone.vlm.dtype=float16"], "E2"),  # the shipped one computes in float32
        ([CPU, "backbone.vlm.dtype=float32"], "E0"),
        ([CPU, "backbone/vlm=openai"], "E1"),
        ([CPU, "exactness=E1"], "E1"),
        ([CPU, "exactness=E2"], "E2"),
    ],
)
def test_auto_is_e2_on_cuda_and_else_the_strictest_class_that_every_model_can_keep(given, kept):
    assert config.load_config(given).exactness == kept


def test_e0_is_float32_throughout():
    for models in ("tiny", "paper"):
        found = dtypes(config.load_config([CPU, f"models={models}", "exactness=E0"]))
        assert len(found) == 5 and set(found.values()) == {"float32"}


def test_e1_on_cuda_is_what_was_published():
    halves = {"vlm": "float16", "inpainter": "float16"}
    full = dict.fromkeys(("detector", "segmenter", "aligner"), "float32")
    e1 = ["device=cuda", "exactness=E1"]
    assert dtypes(config.load_config([*e1, "models=paper"])) == halves | full
    assert set(dtypes(config.load_config([*e1, "models=tiny"])).values()) == {"float32"}


def test_e2_lowers_the_encoders_and_nothing_else():
    found = dtypes(config.load_config(["device=cuda", "models=paper"]))
    lowered = {"detector": "float16", "segmenter": "float16", "aligner": "float32"}
    assert found == {"vlm": "float16", "inpainter": "float16", **lowered}
    kept = ["device=cuda", "models=paper", "exactness=E2", "backbone.segmenter.dtype=float32"]
    assert dtypes(config.load_config(kept))["segmenter"] == "float32"


def test_a_model_without_the_key_is_given_its_precision():
    """Its constructor's own ``auto`` would be half precision on CUDA."""
    sam = {"_target_": "int_bench.backbones.sam.Sam", "device": "cuda"}
    fill = {"_target_": "int_bench.backbones.opencv.ClassicInpainter", "fill": "telea"}
    kept, nodes = exactness.resolve("auto", {"segmenter": sam, "inpainter": fill})
    assert kept == "E2"
    assert nodes == {"segmenter": {**sam, "dtype": "float16"}, "inpainter": fill}


@pytest.mark.parametrize(
    ("given", "key", "instead"),
    [
        (["backbone.vlm.dtype=float16", "exactness=E0"], "backbone.vlm.dtype=float16", "E2"),
        (["backbone.segmenter.dtype=bfloat16", "exactness=E1"], "backbone.segmenter.dtype", "E2"),
        (["models=small", "exactness=E0"], "backbone.inpainter.dtype=float16", "E1"),
        (["backbone/vlm=openai", "exactness=E0"], "backbone.vlm.model=gpt-4o", "E1"),
        (["backbone.aligner.device=cuda", "exactness=E0"], "backbone.aligner.device=cuda", "E1"),
    ],
)
def test_a_class_that_a_model_cannot_keep_is_refused_by_its_key(given, key, instead):
    with pytest.raises(UsageError, match=re.escape(key)) as refusal:
        config.load_config([CPU, *given])
    assert f"choose exactness={instead}." in str(refusal.value)


def test_identity_holds_the_class_and_the_precision_that_were_resolved():
    assert digest_of(CPU) == digest_of(CPU, "exactness=E0")
    assert digest_of("device=cuda") == digest_of("device=cuda", "exactness=E2")
    on_cuda = digest_of("device=cuda", "exactness=E1")
    assert on_cuda == digest_of(CPU, "exactness=E1")  # float32 on both
    classes = [digest_of(CPU, f"exactness={name}") for name in exactness.CLASSES]
    assert len(set(classes)) == 3
    paper = [
        digest_of(f"device={device}", "models=paper", "exactness=E1") for device in ("cpu", "cuda")
    ]
    assert paper[0] != paper[1]  # float32 and float16


class Vlm:
    """Knows how many requests its memory holds."""

    identity, counters = {}, {}

    def __init__(self, rows):
        self.rows = rows

    def rows_at_once(self):
        return self.rows


def test_e0_asks_one_at_a_time_and_the_others_by_model():
    models = {"vlm": Vlm(1000)}
    assert schedule(config.load_config([CPU]), models) == Schedule(1, 1, False)
    found = schedule(config.load_config([CPU, "exactness=E1", "backbone.vlm.max_batch=7"]), models)
    assert found.max_batch["vlm"] == 7 and not found.overlap


@pytest.mark.parametrize(("rows", "most"), [(5, 5), (1000, 32)])
def test_on_cuda_the_vlm_is_asked_what_its_memory_holds(rows, most):
    paper = config.load_config(["device=cuda", "models=paper"])
    found = schedule(paper, {"vlm": Vlm(rows)})
    assert (found.in_flight, found.overlap, found.max_batch["vlm"]) == (12, True, most)
    assert found.max_batch["detector"] == 64  # pictures of three sizes fill passes of eight
    assert found.max_batch["inpainter"] == 8


@pytest.mark.parametrize(("pictures", "images"), [(0, 2), (36, 4), (44, 4), (1000, 12)])
def test_on_cuda_so_many_images_are_in_flight_as_the_vlm_keeps(pictures, images):
    vlm = Vlm(18)
    vlm.resident_pictures = lambda: pictures
    assert schedule(config.load_config(["device=cuda"]), {"vlm": vlm}).in_flight == images


def test_what_is_given_wins_over_auto():
    given = ["device=cuda", "in_flight=3", "overlap=false"]
    found = schedule(config.load_config(given), {"vlm": Vlm(1000)})
    assert (found.in_flight, found.overlap) == (3, False)
    assert schedule(config.load_config([CPU, "overlap=true"]), {}).overlap
    assert digest_of(CPU, "in_flight=3", "overlap=true") == digest_of(CPU)


@pytest.mark.parametrize("wrong", ["in_flight=0", "in_flight=many", "overlap=maybe"])
def test_a_wrong_schedule_is_named(wrong):
    with pytest.raises(UsageError, match=wrong.partition("=")[0]):
        config.load_config([wrong])


def test_on_cuda_only_e2_may_round_to_tf32(monkeypatch):
    precision = pytest.importorskip("int_bench.backbones.common.precision")
    asked = []
    monkeypatch.setattr(precision.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(precision, "allow_tf32", asked.append)
    for given in ([CPU], ["device=cuda", "exactness=E1"], ["device=cuda"]):
        config.build_backbones(replace_backbones(config.load_config(given)))
    assert asked == [False, True]


def replace_backbones(loaded):
    """Only the vlm; nothing is loaded."""
    return replace(loaded, backbone={"vlm": loaded.backbone["vlm"]})


def test_the_memory_of_a_picture_is_that_of_its_keys_and_values():
    """Two layers of keys and values, four heads of 32, four bytes; 64 + 128 tokens."""
    llava = pytest.importorskip("int_bench.backbones.llava")
    vlm = llava.Llava("zoo:llava", device="cpu", dtype="float32", prefix_cache_mb=3)
    assert vlm.resident_pictures() == 3 * 2**20 // (2 * 2 * 4 * 32 * 4 * 192) == 8


@pytest.mark.parametrize(
    ("devices", "fault", "cuda"),
    [((Memory("H100", 1, 1),), "", True), ((), "", False), ((Memory("K80", 1, 1),), "old", False)],
)
def test_the_driver_says_what_auto_is_and_torch_stays_unread(monkeypatch, devices, fault, cuda):
    monkeypatch.setattr(exactness, "_ACCELERATORS", ("null",))  # /dev/null is everywhere
    monkeypatch.setattr(exactness, "cuda_devices", lambda: devices)
    monkeypatch.setattr(exactness, "driver_fault", lambda: fault)
    monkeypatch.setitem(sys.modules, "int_bench.backbones.common.precision", None)
    monkeypatch.setitem(os.environ, "CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    exactness._is_cuda.cache_clear()
    assert exactness._is_cuda("auto") is cuda
    exactness._is_cuda.cache_clear()
