"""SOLOv2 as a backbone: its folder, its batches, what it refuses."""

import json

import numpy as np
import pytest
import torch

from int_bench.backbones.solov2 import SoloV2
from int_bench.backbones.solov2.architecture import Architecture
from int_bench.backbones.solov2.head import SoloNet
from int_bench.backbones.solov2.model import write
from int_bench.core.requests import Instances
from int_bench.core.types import Picture
from int_bench.errors import MissingAsset, UsageError

CLASSES = ("frog", "owl")
SIZES = Architecture(pyramid=16, hidden=16, mask_hidden=16, kernel=8, strides=(0, 0, 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network of random weights that sees something in many cells."""
    torch.manual_seed(3)
    net = SoloNet(SIZES, len(CLASSES))
    torch.nn.init.normal_(net.head.category.weight, std=0.2)
    torch.nn.init.normal_(net.head.kernel.weight, std=0.2)
    torch.nn.init.constant_(net.head.category.bias, -1.0)
    place = tmp_path_factory.mktemp("final")
    write(place, net, SIZES, CLASSES)
    return place


def request(seed, size):
    draw = np.random.default_rng(seed)
    return Instances(Picture(draw.integers(0, 256, (*size, 3), dtype=np.uint8)))


def test_instances_have_the_size_of_their_picture_whatever_the_company(folder):
    model = SoloV2(adapter=str(folder), device="cpu")
    asked = [request(seed, size) for seed, size in enumerate([(64, 96), (50, 41), (64, 96)])]
    together = model.instances(asked)
    assert model.counters["rows"] == 3
    for part, answer in zip(asked, together, strict=True):
        assert answer and {i.category for i in answer} <= set(CLASSES)
        assert all(i.mask.shape == part.image.size and i.mask.dtype == bool for i in answer)
        scores = [i.score for i in answer]
        assert scores == sorted(scores, reverse=True) and scores[-1] >= 0.05 and scores[0] <= 1
        (alone,) = model.instances([part])
        assert [i.category for i in alone] == [i.category for i in answer]
        assert all((a.mask == b.mask).all() for a, b in zip(alone, answer, strict=True))


def test_thresholds_leave_out_instances(folder):
    whole = SoloV2(adapter=str(folder), device="cpu").instances([request(0, (64, 96))])[0]
    few = SoloV2(adapter=str(folder), device="cpu", most=2).instances([request(0, (64, 96))])[0]
    assert [i.score for i in few] == [i.score for i in whole[:2]] and len(whole) > 2
    none = SoloV2(adapter=str(folder), device="cpu", kept=1.0).instances([request(0, (64, 96))])[0]
    assert none == ()


def test_what_is_no_network_is_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="int-bench train method=sapnet"):
        SoloV2()
    with pytest.raises(MissingAsset, match="no adapter"):
        SoloV2(adapter=str(tmp_path), device="cpu").instances([request(0, (64, 64))])
    config = json.loads((folder / "config.json").read_text())
    for change, said in (
        ({"kind": "sam_plm"}, "is a sam_plm, and this model takes a solov2"),
        ({"sizes": {"classes": ["frog"]}}, "does not say which SOLOv2 network"),
        ({"sizes": {**config["sizes"], "classes": ["frog"]}}, "does not fit: head.category"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
        with pytest.raises(MissingAsset, match=said):
            SoloV2(adapter=str(tmp_path), device="cpu").instances([request(0, (64, 64))])
