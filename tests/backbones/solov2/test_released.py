"""SOLOv2's parts against numbers of the code that SAPNet's authors released.

``released.npz`` was made once with the functions of ``zhaoyangwei123/SAPNet`` (ed0d086) on the
inputs that it holds beside them: ellipses, random logits, random features.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from int_bench.backbones.solov2.architecture import Architecture
from int_bench.backbones.solov2.head import Outputs
from int_bench.backbones.solov2.instances import Decoding, decode
from int_bench.backbones.solov2.losses import (
    Labels,
    assigned,
    category_loss,
    dice,
    focal,
    mask_loss,
)
from int_bench.backbones.solov2.matrix_nms import matrix_nms
from int_bench.backbones.solov2.mps import multi_mask_loss
from int_bench.backbones.solov2.targets import assign, boxes_of, shrunk

FULL = Architecture(
    trunk="resnet50",
    grids=(40, 36, 24, 16, 12),
    ranges=((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048)),
    strides=(8, 8, 16, 32, 32),
)
SMALL = Architecture(
    trunk="resnet50",
    grids=(9, 7, 6, 4, 3),
    ranges=((1, 24), (12, 48), (24, 96), (48, 192), (96, 512)),
    strides=(2, 2, 4, 8, 8),
)
SIZE = (96, 128)
LEVELS = range(5)


@pytest.fixture(scope="module")
def released():
    with np.load(Path(__file__).with_name("released.npz")) as arrays:
        return dict(arrays)


def ellipses(rows, size):
    y, x = np.mgrid[: size[0], : size[1]]
    drawn = [((x - a) / c) ** 2 + ((y - b) / d) ** 2 <= 1 for a, b, c, d in rows]
    return torch.from_numpy(np.stack(drawn))


def test_each_instance_is_learnt_by_the_same_cells(released):
    cells, areas = [], []
    for picture, rows in enumerate(released["target_ellipses"]):
        masks = ellipses(rows, (480, 640))
        kinds = torch.from_numpy(released["target_categories"][picture])
        made = assign(masks, boxes_of(masks), kinds, FULL, 80, (480, 640))
        labels = np.concatenate([level.numpy().ravel() for level in made.categories])
        assert (labels == released["target_labels"][picture]).all()
        where = zip(made.level.tolist(), made.cell.tolist(), strict=True)
        cells += [(picture, *place) for place in where]
        areas += shrunk(masks)[made.instance].flatten(1).sum(1).tolist()
    assert len(cells) == 208 and cells == [tuple(row) for row in released["target_cells"].tolist()]
    assert areas == released["target_areas"].tolist()


def test_the_losses_of_pixels_and_categories(released):
    mine = dice(torch.from_numpy(released["dice_p"]), torch.from_numpy(released["dice_t"]))
    assert np.abs(mine.numpy() - released["dice"]).max() <= 1e-6
    targets = torch.from_numpy(released["focal_t"]).float()
    mine = focal(torch.from_numpy(released["focal_x"]), targets)
    assert np.abs(mine.numpy() - released["focal"]).max() <= 1e-6


def test_the_decay_of_scores(released):
    masks = ellipses(released["nms_ellipses"], (32, 32))
    scores, kinds = (torch.from_numpy(released[f"nms_{name}"]) for name in ("scores", "labels"))
    order = scores.argsort(descending=True)[:50]
    areas = masks.flatten(1).sum(1).float()
    decayed = matrix_nms(masks[order], kinds[order], scores[order], areas[order])
    again = decayed.argsort(descending=True)[:30]
    assert np.abs(decayed[again].numpy() - released["nms_decayed"]).max() <= 1e-6
    assert (order[again].numpy() == released["nms_kept"]).all()
    assert decayed.sum() < 0.9 * scores[order].sum()


def outputs_of(released):
    def level(name):
        return tuple(torch.from_numpy(released[f"{name}{i}"]).float() for i in LEVELS)

    features = torch.from_numpy(released["features"]).float()
    return Outputs(level("kernels"), level("categories"), features)


def test_the_loss_of_a_batch_and_of_further_masks(released):
    bags = [
        torch.stack([ellipses(rows[:, k], SIZE) for k in range(4)], 1)
        for rows in released["loss_ellipses"]
    ]
    kinds = torch.from_numpy(released["loss_categories"])
    labels = [Labels(bag[:, 0], boxes_of(bag[:, 0]), k) for bag, k in zip(bags, kinds, strict=True)]
    outputs = outputs_of(released)
    cells = assigned(labels, SMALL, 4, SIZE)
    masks = mask_loss(outputs, cells, [part.masks for part in labels])
    assert float(masks) == pytest.approx(float(released["loss_mask"]), abs=1e-6)
    categories = category_loss(outputs, cells)
    assert float(categories) == pytest.approx(float(released["loss_cls"]), abs=1e-6)
    further = multi_mask_loss(outputs, labels, [bag[:, 1:] for bag in bags], SMALL, 4, SIZE)
    assert float(further) == pytest.approx(float(released["loss_further"]), abs=1e-6)


@pytest.mark.parametrize(("index", "seen", "size"), [(0, (90, 120), (60, 80)), (1, SIZE, SIZE)])
def test_the_instances_of_a_picture(released, index, seen, size):
    with torch.inference_mode():
        made = decode(outputs_of(released), index, SMALL, seen, size, Decoding())
    assert made.masks.shape == (100, *size)
    assert np.abs(made.scores.numpy() - released[f"found{index}_scores"]).max() <= 1e-6
    assert (made.categories.numpy() == released[f"found{index}_labels"]).all()
    assert (made.masks.flatten(1).sum(1).numpy() == released[f"found{index}_areas"]).all()
