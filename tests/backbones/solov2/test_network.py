"""SOLOv2's sizes, cells and losses where they can be counted by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from int_bench.backbones.solov2.architecture import Architecture
from int_bench.backbones.solov2.head import Outputs, SoloNet
from int_bench.backbones.solov2.instances import Decoding, decode
from int_bench.backbones.solov2.losses import Labels, assigned, class_entropy, dice, mask_loss
from int_bench.backbones.solov2.matrix_nms import matrix_nms
from int_bench.backbones.solov2.mps import WEIGHT, multi_mask_loss, ranks
from int_bench.backbones.solov2.pixels import normalised, padded_size, seen_size
from int_bench.backbones.solov2.targets import boxes_of, shrunk
from int_bench.errors import UsageError

TINY = Architecture(
    kernel=8, grids=(4, 2, 1), ranges=((1, 16), (12, 24), (24, 99)), strides=(0, 0, 0)
)
R50 = Architecture(
    trunk="resnet50",
    pyramid=256,
    hidden=512,
    convolutions=4,
    mask_hidden=128,
    kernel=256,
    grids=(40, 36, 24, 16, 12),
    ranges=((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048)),
    strides=(8, 8, 16, 32, 32),
)


def square(top, left, side, size=32):
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


def labels(*masks):
    stacked = torch.stack(masks)
    return Labels(stacked, boxes_of(stacked), torch.arange(len(masks)) % 3)


def constant(feature, value=1.0, classes=3):
    """Outputs whose every kernel takes the first feature alone, times a value."""
    kernels = [torch.zeros(1, 8, s, s) for s in TINY.grids]
    for level in kernels:
        level[:, 0] = value
    features = torch.zeros(1, 8, 8, 8)
    features[:, 0] = feature
    categories = tuple(torch.full((1, classes, s, s), -9.0) for s in TINY.grids)
    return Outputs(tuple(kernels), categories, features)


def test_the_small_network_is_small_and_its_levels_are_its_grids():
    net = SoloNet(Architecture(), 6)
    assert 0.4e6 < sum(p.numel() for p in net.parameters()) < 0.8e6
    outputs = net(torch.zeros(2, 3, 128, 96))
    assert [k.shape for k in outputs.kernels] == [(2, 32, s, s) for s in (12, 8, 6)]
    assert [c.shape for c in outputs.categories] == [(2, 6, s, s) for s in (12, 8, 6)]
    assert outputs.features.shape == (2, 32, 32, 24)
    prior = outputs.categories[0].detach().sigmoid().mean()
    assert float(prior) == pytest.approx(0.01, rel=0.1)


def test_the_full_network_is_the_papers():
    with torch.device("meta"):
        net = SoloNet(R50, 80)
        outputs = net(torch.zeros(1, 3, 800, 1344))
    assert [c.shape for c in outputs.categories] == [(1, 80, s, s) for s in R50.grids]
    assert outputs.features.shape == (1, 256, 200, 336)
    frozen = [n for n, p in net.named_parameters() if not p.requires_grad]
    assert frozen and all(
        n.startswith(("features.trunk.stem", "features.trunk.layers.0")) for n in frozen
    )
    net.train()
    assert not net.features.trunk.layers[2][0].bn1.training and net.training


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="has 5 levels, but grids has 3"):
        Architecture(trunk="resnet101")
    with pytest.raises(UsageError, match="no sizes of a SOLOv2"):
        Architecture.from_json({"trunk": "small", "depth": 3})
    again = Architecture.from_json(R50.as_json())
    assert again == R50


def test_an_instance_is_learnt_around_its_centre_by_the_levels_of_its_size():
    # A side of 14 lies in the first two ranges; its centre of mass is (8.5, 22.5) of 32 pixels.
    placed = Labels(square(2, 16, 14)[None], torch.tensor([[16.0, 2, 30, 16]]), torch.tensor([1]))
    cells = assigned([placed], TINY, 3, (32, 32))[0]
    assert list(zip(cells.level.tolist(), cells.cell.tolist(), strict=True)) == [
        (0, 2), (0, 6), (1, 1)]  # fmt: skip
    # Rows 7.1 and 9.9 lie in the first and second cell of 8 pixels; columns 21.1 and 23.9 in one.
    assert cells.categories[0].tolist() == [[3, 3, 1, 3], [3, 3, 1, 3], [3] * 4, [3] * 4]
    assert cells.positive == 3


def test_of_two_instances_in_a_cell_the_later_names_it_and_both_are_learnt():
    both = labels(square(8, 8, 10), square(9, 9, 10))
    cells = assigned([both], TINY, 3, (32, 32))[0]
    shared = set(cells.cell[cells.instance == 0].tolist()) & set(
        cells.cell[cells.instance == 1].tolist()
    )
    assert shared and all(cells.categories[0].flatten()[cell] == 1 for cell in shared)
    assert cells.positive == len(set(cells.cell.tolist())) < len(cells.cell)


def test_empty_masks_and_sizes_of_no_level_are_left_out():
    nothing = torch.zeros(1, 32, 32, dtype=torch.bool)
    empty = Labels(nothing, torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0]))
    cells = assigned([empty], TINY, 3, (32, 32))
    assert len(cells[0].cell) == 0
    loss = mask_loss(constant(1.0), cells, [empty.masks])
    assert float(loss) == 0.0


def test_masks_are_brought_to_a_quarter_by_their_middles():
    mask = square(0, 0, 6, 8)  # half of the middle of the second block
    assert shrunk(mask[None])[0].tolist() == [[True, True], [True, False]]
    assert shrunk(square(0, 0, 5, 8)[None])[0].tolist() == [[True, False], [False, False]]


def test_the_loss_of_further_masks_by_hand():
    """Eq. 11: a quarter of the mean of three dice losses, each over its own cells."""
    chosen = labels(square(8, 8, 8))
    others = torch.stack([square(8, 8, 8), square(8, 8, 12), square(4, 4, 4)])[None]
    p = 1 / (1 + math.exp(-1.0))
    loss = multi_mask_loss(constant(1.0), [chosen], [others], TINY, 3, (32, 32))

    def by_hand(pixels):  # every one of 64 pixels has probability p
        return 1 - 2 * p * pixels / (64 * p * p + 1e-3 + pixels + 1e-3)

    # At a quarter of the size the masks have 4, 9 and 1 pixels.
    expected = 0.25 * 3.0 * (by_hand(4) + by_hand(9) + by_hand(1)) / 3
    assert float(loss) == pytest.approx(expected, abs=1e-6)
    assert (
        WEIGHT == 0.25 and ranks(6) == (1, 3, 5) and ranks(3) == (1, 1, 2) and ranks(1) == (0, 0, 0)
    )


def test_classes_are_told_apart_at_positive_cells_alone():
    cells = assigned([labels(square(2, 16, 14))], TINY, 3, (32, 32))
    outputs = constant(1.0)
    assert float(class_entropy(outputs, cells)) == pytest.approx(math.log(3))
    for level, cell in zip(cells[0].level.tolist(), cells[0].cell.tolist(), strict=True):
        outputs.categories[level][0, 0].view(-1)[cell] += 2.0
    expected = math.log(math.exp(2) + 2) - 2
    assert float(class_entropy(outputs, cells)) == pytest.approx(expected, abs=1e-6)
    nothing = [
        replace(cells[0], categories=tuple(torch.full_like(c, 3) for c in cells[0].categories))
    ]
    assert float(class_entropy(outputs, nothing)) == 0.0


def test_dice_by_hand():
    p = torch.tensor([[[0.5, 1.0], [0.0, 0.0]]])
    t = torch.tensor([[[True, True], [False, False]]])
    assert float(dice(p, t)) == pytest.approx(1 - 2 * 1.5 / (1.25 + 2 + 2e-3), abs=1e-6)


def test_scores_fall_with_the_overlap_of_better_masks_of_their_category():
    left, right = square(0, 0, 8, 16), square(0, 4, 8, 16)
    masks, areas = torch.stack([left, right, right]), torch.tensor([64.0, 64, 64])
    decayed = matrix_nms(masks, torch.tensor([0, 0, 1]), torch.tensor([0.9, 0.8, 0.7]), areas)
    overlap = 32 / 96
    expected = [0.9, 0.8 * math.exp(-2 * overlap**2), 0.7]
    assert decayed.tolist() == pytest.approx(expected, abs=1e-6)
    assert len(matrix_nms(masks[:0], torch.tensor([]), torch.tensor([]), areas[:0])) == 0


def test_a_cell_above_the_threshold_becomes_an_instance_at_the_size_of_the_picture():
    outputs = constant(torch.where(shrunk(square(8, 8, 16)[None])[0], 4.0, -4.0))
    outputs.categories[1][0, 2, 0, 0] = 3.0
    made = decode(outputs, 0, TINY, (32, 32), (64, 64), Decoding())
    assert made.categories.tolist() == [2] and made.masks.shape == (1, 64, 64)
    p = [1 / (1 + math.exp(-x)) for x in (3.0, 4.0)]
    assert made.scores.tolist() == pytest.approx([p[0] * p[1]], abs=1e-6)
    twice = np.kron(square(8, 8, 16).numpy(), np.ones((2, 2), dtype=bool))
    grown = made.masks[0].numpy()
    assert (grown & twice).sum() / (grown | twice).sum() > 0.95
    nothing = decode(constant(1.0), 0, TINY, (32, 32), (64, 64), Decoding())
    assert nothing.masks.shape == (0, 64, 64) and len(nothing.scores) == 0


def test_pictures_are_scaled_and_padded():
    coco = Architecture(short=80, long=133)
    assert seen_size((48, 64), coco) == (80, 107) and seen_size((30, 100), coco) == (40, 133)
    assert padded_size((80, 107), coco) == (80, 112)
    image = np.full((48, 64, 3), 128, dtype=np.uint8)
    made = normalised(image, coco)
    assert made.shape == (3, 80, 112) and not made[:, :, 107:].any()
    assert float(made[0, 5, 5]) == pytest.approx((128 - 123.675) / 58.395, abs=1e-5)
