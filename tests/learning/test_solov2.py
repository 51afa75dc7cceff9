"""What a SOLOv2 network is trained on, and that what is written is what runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from int_bench.backbones.solov2 import SoloV2
from int_bench.backbones.solov2.architecture import Architecture
from int_bench.config import load_config
from int_bench.core.requests import Instances, Segmentation, Selection
from int_bench.core.types import Picture
from int_bench.data.dataset import objects_of
from int_bench.data.world.crowd_dataset import CrowdScenes
from int_bench.errors import MissingAsset, SampleError, UsageError
from int_bench.learning.loop import fit
from int_bench.learning.solov2.batches import batch_of, turned
from int_bench.learning.solov2.labels import Pictures
from int_bench.learning.solov2.selected import selected
from int_bench.learning.solov2.training import TrainSoloV2
from int_bench.methods.sapnet.proposing import Proposing

DATA, HELD = (CrowdScenes(split=split, count=3, size=64) for split in ("train", "val"))
SIZES = Architecture(pyramid=16, hidden=16, mask_hidden=16, kernel=8)


class Halves:
    """A segmenter that proposes bands of the picture, the surest first; with a box other ones."""

    def __init__(self) -> None:
        self.identity: dict[str, Any] = {"checkpoint": "halves"}
        self.counters: Counter[str] = Counter()

    def proposals(self, requests: Any) -> list[tuple[Segmentation, ...]]:
        return [
            tuple(self._band(rows, request.box is not None) for rows in (16, 32, 48))
            for request in requests
        ]

    @staticmethod
    def _band(rows: int, boxed: bool) -> Segmentation:
        logits = np.full((64, 64), -1.0, dtype=np.float32)
        logits[: rows - 8 * boxed] = 1.0
        return Segmentation(logits, 1 - rows / 64)


class Last:
    """A selector whose first stage takes the third proposal, and the whole of it the fifth."""

    def __init__(self) -> None:
        self.identity: dict[str, Any] = {}
        self.counters: Counter[str] = Counter()

    def select(self, requests: Any) -> list[tuple[Selection, ...]]:
        scores = (0.1, 0.2, 0.3, 0.4, 0.6, 0.5)
        return [
            tuple(Selection(4, scores, part.boxes[4], 2) for part in request.objects)
            for request in requests
        ]


def chosen(source: Any, tmp_path: Any, further: bool = False) -> Any:
    models = {"segmenter": Halves(), "selector": Last()}
    return selected(DATA, source, further, Proposing(), models, tmp_path / source)


def test_labels_are_those_that_were_chosen(tmp_path: Any) -> None:
    rows = {"sam_top1": 16, "mil_single": 48, "sapnet": 24}
    for source, height in rows.items():
        pictures = Pictures(DATA, chosen(source, tmp_path), 2**30)
        assert len(pictures) == 3
        for index, sample in enumerate(pictures.samples):
            known = objects_of(DATA, sample)
            labelled = pictures[index]
            assert sorted(labelled.categories) == sorted(part.category for part in known)
            assert labelled.masks.shape == (len(known), 64, 64)
            assert (labelled.masks.sum((1, 2)) == height * 64).all()
            assert labelled.further.shape == (len(known), 0, 64, 64)


def test_further_masks_are_ranks_two_four_and_six(tmp_path: Any) -> None:
    labelled = Pictures(DATA, chosen("sapnet", tmp_path, further=True), 2**30)[0]
    # By score: proposals 4, 5, 3, 2, 1, 0, of 24, 40, 8, 48, 32 and 16 rows.
    assert (labelled.further.sum((2, 3)) == np.array([40, 48, 16]) * 64).all()


def test_a_picture_is_turned_with_its_masks() -> None:
    pictures = Pictures(DATA, None, 0)
    labelled = pictures[0]
    inked = labelled._replace(image=np.repeat(labelled.masks.any(0)[..., None], 3, 2) * np.uint8(9))
    ways = [turned(inked, turn) for turn in range(8)]
    for part in ways:
        assert (part.image[..., 0] > 0).tolist() == part.masks.any(0).tolist()
    assert len({part.masks.tobytes() for part in ways}) == 8


def test_batches_are_padded_and_scaled_with_their_labels() -> None:
    parts = [Pictures(DATA, None, 0)[index] for index in range(2)]
    parts[0] = parts[0]._replace(
        image=parts[0].image[:40], masks=parts[0].masks[:, :40], further=parts[0].further[:, :, :40]
    )
    half = Architecture(short=32)
    images, _, labels, further, _ = batch_of(parts, half, DATA.categories)
    assert images.shape == (2, 3, 32, 64) and not images[1, :, :, 32:].any()
    assert labels[1].masks.shape[1:] == (32, 64) and not labels[1].masks[:, :, 32:].any()
    full = torch.from_numpy(parts[1].masks).sum().item()
    assert labels[1].masks.sum().item() == pytest.approx(full / 4, rel=0.15)
    assert further[1].shape == (len(labels[1].masks), 0, 32, 64)
    x0, y0, x1, y1 = labels[1].boxes[0].tolist()
    rows, columns = torch.nonzero(labels[1].masks[0], as_tuple=True)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)


@pytest.mark.parametrize("source", ["truth", "sapnet"])
def test_what_is_trained_is_written_and_runs(source: Any, tmp_path: Any) -> None:
    training = TrainSoloV2(
        architecture=SIZES, labels=source, steps=2, batch=2, validated=1, device="cpu"
    )
    models: Any = {} if source == "truth" else {"segmenter": Halves(), "selector": Last()}
    assert training.roles == set(models)
    fitting = training.begin(DATA, HELD, models, tmp_path)
    _, figures = fitting.loss(np.random.default_rng(0))
    assert set(figures) == {"masks", "categories"} | ({"further"} if models else set())
    before = [parameter.clone() for parameter in fitting.model.parameters()]
    fit(fitting.model, replace(fitting.recipe, cache=tmp_path), fitting.loss)
    after = fitting.model.parameters()
    assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True))
    out = tmp_path / "final"
    out.mkdir()
    fitting.export(out)
    model = SoloV2(adapter=str(out), device="cpu", score=0.0, kept=0.0, most=3)
    assert model.loaded.classes == DATA.categories
    trained, stored = fitting.model.state_dict(), model.loaded.net.state_dict()
    assert all(torch.allclose(stored[name], trained[name], atol=2e-3) for name in trained)
    (instances,) = model.instances([Instances(Picture(DATA.load_image(DATA.samples()[0])))])
    assert len(instances) <= 3


def test_half_the_bits_go_through_the_network_alone(tmp_path: Any) -> None:
    totals = {}
    for dtype in ("float32", "bfloat16"):
        options: Any = {"architecture": SIZES, "labels": "truth", "dtype": dtype, "device": "cpu"}
        fitting = TrainSoloV2(**options).begin(DATA, HELD, {}, tmp_path)
        totals[dtype], _ = fitting.loss(np.random.default_rng(0))
        totals[dtype].backward()
    assert {total.dtype for total in totals.values()} == {torch.float32}
    gradients = [part.grad for part in fitting.model.parameters()]
    assert {part.dtype for part in gradients if part is not None} == {torch.float32}
    assert totals["bfloat16"].item() != totals["float32"].item()
    assert totals["bfloat16"].item() == pytest.approx(totals["float32"].item(), rel=0.01)


def test_validation_is_average_precision(tmp_path: Any) -> None:
    pytest.importorskip("faster_coco_eval")
    training = TrainSoloV2(architecture=SIZES, labels="truth", validated=1, device="cpu")
    fitting = training.begin(DATA, HELD, {}, tmp_path)
    assert fitting.validate is not None
    with torch.no_grad():
        assert set(fitting.validate()) == {"AP", "AP50", "AP75"}


def test_what_cannot_be_trained_on_is_a_sentence(tmp_path: Any) -> None:
    from int_bench.data.world.dataset import DrawnScenes

    training = TrainSoloV2(architecture=SIZES, labels="truth", device="cpu")
    with pytest.raises(UsageError, match="camoworld knows no objects by class"):
        training.begin(DrawnScenes(), HELD, {}, tmp_path)
    small = TrainSoloV2(architecture=SIZES, labels="truth", pretrained="x.pth", device="cpu")
    with pytest.raises(UsageError, match="method=sapnet_r50"):
        small.begin(DATA, HELD, {}, tmp_path)
    large = Architecture(trunk="resnet50", grids=(4,) * 5, ranges=((1, 9),) * 5, strides=(4,) * 5)
    missing = TrainSoloV2(architecture=large, labels="truth", pretrained="x.pth", device="cpu")
    with pytest.raises(MissingAsset, match="there is no such file"):
        missing.begin(DATA, HELD, {}, tmp_path)


def test_at_test_time_there_is_neither_sam_nor_a_selector() -> None:
    config = load_config(["method=sapnet", "backbone.instance_segmenter.adapter=final"])
    assert set(config.backbone) == {"instance_segmenter"}


class Torn(CrowdScenes):
    """Scenes of which the first, or all, cannot be read."""

    lost = ("train-00000",)

    def load_image(self, sample: Any) -> Any:
        if sample.topic in self.lost:
            raise SampleError(f"Image {sample.topic} is cut short.")
        return super().load_image(sample)


def test_a_picture_that_cannot_be_read_is_left_out_and_named_once(capsys):
    pictures = Pictures(Torn(split="train", count=2, size=64), None, 2**20)
    for _ in range(2):
        assert np.array_equal(pictures[0].image, pictures[1].image)
    assert capsys.readouterr().err == "Image train-00000 is cut short. It is left out.\n"
    Torn.lost = ("train-00000", "train-00001")
    with pytest.raises(SampleError, match="is cut short"):
        Pictures(Torn(split="train", count=2, size=64), None, 2**20)[0]


def test_a_class_of_validation_that_is_not_trained_is_one_sentence():
    class Others(CrowdScenes):
        categories = ("x",)

    with pytest.raises(UsageError, match="the class 'x', which is not among those"):
        TrainSoloV2(labels="truth").begin(DATA, Others(split="val"), {}, Path())
