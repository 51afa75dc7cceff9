"""SAPNet end to end: one trunk, two losses, and a segmenter that the selection teaches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from int_bench.backbones.common import adapter
from int_bench.backbones.selector.losses import selection_loss
from int_bench.backbones.selector.network import SelectionHead
from int_bench.backbones.selector.options import Bms, Choices, Pnpg, Prm, Psm
from int_bench.backbones.solov2 import SoloV2
from int_bench.backbones.solov2.architecture import Architecture
from int_bench.backbones.solov2.trunk import Features
from int_bench.errors import UsageError
from int_bench.learning.loop import fit
from int_bench.learning.solov2.batches import batch_of, turned
from int_bench.learning.solov2.end_to_end import TrainEndToEnd, bags_of, taken
from int_bench.learning.solov2.labels import Labelled
from tests.learning.test_solov2 import DATA, HELD, SIZES, Halves

SMALL = TrainEndToEnd(
    architecture=SIZES,
    steps=6,
    batch=2,
    width=16,
    save_every=0.0,
    pnpg=Pnpg(background=8),
    prm=Prm(start_step=2),
    device="cpu",
)


def begin(training: TrainEndToEnd, scratch: Path) -> Any:
    models: Any = {"segmenter": Halves()}
    fitting = training.begin(DATA, HELD, models, scratch)
    return replace(fitting, recipe=replace(fitting.recipe, cache=scratch))


@pytest.fixture
def fitting(tmp_path: Path) -> Any:
    return begin(SMALL, tmp_path)


def labelled() -> Labelled:
    """An object with three proposals: of rows 8 to 24, none, and of columns 0 to 4."""
    bag = np.zeros((1, 3, 64, 64), dtype=np.bool_)
    bag[0, 0, 8:24], bag[0, 2, :, :4] = True, True
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    points = np.array([[10.0, 12.0]], dtype=np.float32)
    return Labelled(image, bag[:, 0], bag, ("green red",), points)


def test_bags_are_the_boxes_of_turned_and_scaled_proposals() -> None:
    parts = [turned(labelled(), 1), turned(labelled(), 6)]
    batch = batch_of(parts, Architecture(short=32), ["red green", "green red"])
    bags = bags_of(batch, torch.device("cpu"))
    assert bags.images.tolist() == [0, 1] and bags.labels.tolist() == [1, 1]
    assert bags.valid.tolist() == [[True, False, True]] * 2
    # Mirrored: columns 60 to 64, point x = 54. Upside down: rows 40 to 56, y = 52; then diagonal.
    assert bags.boxes[0].tolist() == [[0, 4, 32, 12], [0, 0, 1, 1], [30, 0, 32, 32]]
    assert bags.boxes[1].tolist() == [[20, 0, 28, 32], [0, 0, 1, 1], [0, 0, 32, 2]]
    assert bags.points.tolist() == [[27, 6], [26, 5]]
    assert bags.limits.tolist() == [[32] * 4] * 2


def test_the_segmenter_learns_what_is_selected_and_three_others() -> None:
    batch = batch_of([labelled(), labelled()], Architecture(), ["green red"])
    bags = bags_of(batch, torch.device("cpu"))
    scores = torch.tensor([[0.2, 0.1, 0.7], [0.5, 0.4, 0.1]])
    first = SimpleNamespace(own=scores, boxes=bags.boxes[[0, 1], [2, 0]])
    learnt: Any = SimpleNamespace(first=first, second=None)
    labels, further = taken(batch, bags, learnt, Choices(bms=Bms(after="off")))
    assert [part.masks.sum().item() for part in labels] == [256, 1024]
    assert [part.boxes[0].tolist() for part in labels] == [[0, 0, 4, 64], [0, 8, 64, 24]]
    # By score: proposals 2, 0, 1 and 0, 1, 2; of bags of three the second, second and last.
    assert [part[0].sum((1, 2)).tolist() for part in further] == [[1024, 1024, 0], [0, 0, 256]]


def test_boxes_take_their_features_from_the_level_of_their_size() -> None:
    """A side of 56 or more of P2 goes to the next level each time it doubles."""
    with torch.device("meta"):
        features = Features(Architecture(trunk="resnet50", **FIVE))
    assert features.strides == (4, 8, 16, 32, 64) and Features(SIZES).strides == (4, 8, 16)
    head = SelectionHead(2, features.strides, 3, 8)
    sizes = [1024 // stride for stride in features.strides]
    maps = [torch.full((1, 2, size, size), float(level)) for level, size in enumerate(sizes)]
    sides = torch.tensor([20.0, 111, 112, 230, 500, 1000])
    boxes = torch.stack([sides * 0, sides * 0, sides, sides], 1)[None]
    levels = head._pooled(maps, torch.tensor([0]).repeat(6), boxes)
    assert levels.shape == (6, 2 * 49)
    assert levels.mean(1).tolist() == [0, 0, 1, 2, 3, 4]


FIVE: Any = {"grids": (4,) * 5, "ranges": ((1, 9),) * 5, "strides": (4,) * 5}


def gradients(model: torch.nn.Module) -> set[str]:
    """The parts of the model that have learnt something."""
    parts = {
        name.rsplit(".", 1)[0]: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    kinds = ("net.features.trunk", "net.features.pyramid", "net.head", "selection.shared",
             "selection.classes.0", "selection.classes.1")  # fmt: skip
    return {kind for kind in kinds if any(name.startswith(kind) for name in parts)}


def test_both_losses_reach_the_trunk_and_neither_the_others_head(fitting: Any) -> None:
    model, loss = fitting.model, fitting.loss
    trunk = {"net.features.trunk", "net.features.pyramid"}
    stages = {"selection.shared", "selection.classes.0", "selection.classes.1"}
    batch = batch_of([loss.pictures[0], loss.pictures[1]], SIZES, DATA.categories)
    bags = bags_of(batch, torch.device("cpu"))
    choices, rng = SMALL.choices, np.random.default_rng(0)
    maps = model.net.features(batch.images)
    learnt = selection_loss(model.selection, maps, bags, choices, rng, True)
    assert set(learnt.parts) == {"psm", "positive", "negative"}
    learnt.total.backward(retain_graph=True)
    assert gradients(model) == trunk | stages
    model.zero_grad()
    labels, further = taken(batch, bags, learnt, choices)
    total, _ = SMALL.loss(model.net.head(maps), labels, further, (64, 64))
    total.backward()
    assert gradients(model) == trunk | {"net.head"}


def test_the_loss_is_equation_9(fitting: Any) -> None:
    told = []
    for step in range(3):
        total, parts = fitting.loss(np.random.default_rng(step))
        told.append(set(parts) & {"psm", "positive", "negative"})
        positive, negative = (float(parts.get(key, 0.0)) for key in ("positive", "negative"))
        mask = float(parts["masks"] + parts["categories"] + parts["further"])
        expected = mask + 0.25 * float(parts["psm"]) + 0.25 * positive + 0.75 * negative
        assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    assert told == [{"psm"}] * 2 + [{"psm", "positive", "negative"}]


def trained(place: Path, stop: int | None = None) -> Path:
    """The adapter of a training that is interrupted in one of its steps and gone on with."""
    place.mkdir()
    fitting, calls = begin(SMALL, place), 0

    def stopping(generator: np.random.Generator) -> Any:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt
        return fitting.loss(generator)

    if stop is not None:
        with pytest.raises(KeyboardInterrupt):
            fit(fitting.model, fitting.recipe, stopping)
        fitting = begin(SMALL, place)
    fit(fitting.model, fitting.recipe, fitting.loss)
    final = place / "final"
    final.mkdir()
    fitting.export(final)
    return final


def test_stopped_it_ends_with_the_same_bytes_and_runs_alone(tmp_path: Path) -> None:
    whole, stopped = trained(tmp_path / "whole"), trained(tmp_path / "stopped", stop=5)
    name = adapter.WEIGHTS_FILE
    assert (whole / name).read_bytes() == (stopped / name).read_bytes()
    stored = SoloV2(adapter=str(whole), device="cpu").loaded.net.state_dict()
    assert not any("selection" in key for key in stored)
    assert b"selection" not in (whole / name).read_bytes()


def test_what_takes_true_boxes_is_refused() -> None:
    with pytest.raises(UsageError, match="centres of true boxes"):
        TrainEndToEnd(psm=Psm(pdg="released"))
    assert SMALL.roles == {"segmenter"}
