"""Training of PLM and PMM: the loss by hand, frozen features once, an adapter that SAM takes."""

import numpy as np
import pytest
import torch

from int_bench.backbones.sam import Sam, SamPlm
from int_bench.backbones.sam.plm import PlmOptions, PmmOptions
from int_bench.core.requests import Point, Segment
from int_bench.core.types import Picture
from int_bench.data.world.crowd_dataset import CrowdScenes
from int_bench.errors import UsageError
from int_bench.learning.loop import Listener, fit
from int_bench.learning.plm import PlmTraining, uniform_points
from tests.backbones.sam.tiny_sam import write_tiny_sam

SCENES = {split: CrowdScenes(split=split, count=2, size=64) for split in ("train", "val")}
OPTIONS = {
    "plm": PlmOptions(heads=2),
    "pmm": PmmOptions(points=12, channels=8),
    "steps": 3,
    "batch": 4,
    "report_every": 3,
    "validated": 4,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(write_tiny_sam(tmp_path_factory.mktemp("sam")))


def begun(checkpoint, scratch, **words):
    sam = Sam(checkpoint, device="cpu")
    training = PlmTraining(**{**OPTIONS, **words})
    data, validation = SCENES["train"], SCENES["val"]
    return sam, training.begin(data, validation, {"segmenter": sam}, scratch)


def trained(checkpoint, folder, **words):
    """The recipe without a checkpoint of an earlier one, and the folder of its adapter."""
    _, fitting = begun(checkpoint, folder, **words)
    recipe = fitting.recipe.__class__(**{**vars(fitting.recipe), "cache": folder})
    lines = []
    fit(fitting.model, recipe, fitting.loss, fitting.validate, Told(lines))
    out = folder / "final"
    out.mkdir()
    fitting.export(out)
    return str(out), lines


class Told(Listener):
    def __init__(self, lines):
        self.lines = lines

    def begun(self, step):
        self.lines.append(step)

    def reported(self, report):
        self.lines.append(report)


def test_pictures_are_encoded_once(checkpoint, tmp_path):
    sam, fitting = begun(checkpoint, tmp_path)
    assert sam.counters["images_encoded"] == 4 < len(SCENES["train"].samples()) + 4
    fitting.loss(np.random.default_rng(0))
    again, _ = begun(checkpoint, tmp_path)
    assert again.counters["images_encoded"] == 0


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"prompts": "mixed", "output": "best", "loss": "bce", "matching": "nearest"},
        {"trained": "plm_decoder", "pmm_weight": 0.0, "prompts": "known"},
    ],
)
def test_an_adapter_learns_and_sam_takes_it(checkpoint, tmp_path, words):
    plain = Sam(checkpoint, device="cpu")
    before = {name: t.clone() for name, t in plain.loaded.state_dict().items()}
    folder, (start, report) = trained(checkpoint, tmp_path, **words)
    assert start == 0 and 0.0 <= report.validation["iou"] <= 1.0
    assert ("moved" in report.figures) == ("pmm_weight" not in words)
    assert all(torch.equal(before[n], t) for n, t in plain.loaded.state_dict().items())
    image = Picture(SCENES["val"].load_image(SCENES["val"].samples()[0]))
    request = Segment(image, None, (Point(30.0, 30.0, True),), multimask=False)
    answers = [
        sam.segment([request])[0].logits
        for sam in (plain, SamPlm(checkpoint, device="cpu", adapter=folder))
    ]
    assert (answers[0] != answers[1]).any()


def test_the_same_seed_learns_the_same(checkpoint, tmp_path):
    figures = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        _, (_, report) = trained(checkpoint, tmp_path / name)
        figures.append((report.figures, report.validation))
    assert figures[0] == figures[1]


def test_the_mask_loss_by_hand(checkpoint, tmp_path):
    """Logits 0 on half of the plane and -infinity on what is empty: p = 1/2 and 0."""
    _, fitting = begun(checkpoint, tmp_path)
    learner = fitting.export.__self__
    true = torch.zeros(1, 4, 4)
    true[0, :2] = 1.0
    logits = torch.where(true > 0, 0.0, -100.0)
    dice = 1 - (2 * 8 * 0.5 + 1) / (8 * 0.5 + 8 + 1)
    focal = 20 * 0.25 * 0.5**2 * np.log(2) / 2
    expected = torch.tensor([focal + dice], dtype=torch.float32)
    torch.testing.assert_close(learner.mask_loss(logits, true), expected)


def test_uniform_points_lie_in_the_mask_all_over_it():
    masks = torch.zeros(400, 1, 8, 8)
    masks[:, 0, 2:4, 3:7] = 1.0
    points = uniform_points(masks, np.random.default_rng(0))
    assert (points >= torch.tensor([12.0, 8.0])).all() and (points < torch.tensor([28, 16])).all()
    assert (points.mean(0) - torch.tensor([20.0, 12.0])).abs().max() < 1.0
    thin = torch.full((1, 1, 8, 8), 0.0)
    thin[0, 0, 5, 5] = 0.3  # less than half of a cell
    assert (uniform_points(thin, np.random.default_rng(0)) // 4 == 5).all()


def test_a_sam_that_has_modules_is_not_trained_again(checkpoint, tmp_path):
    sam = SamPlm(checkpoint, device="cpu", adapter="x")
    with pytest.raises(UsageError, match="method=plm"):
        PlmTraining().begin(SCENES["train"], SCENES["val"], {"segmenter": sam}, tmp_path)
