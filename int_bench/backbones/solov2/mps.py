"""Multi-mask proposals supervision: three further masks of the bag teach the mask head (Eq. 11).

Source: SAPNet (arXiv 2312.15895), Section 3.5 and Eq. 11:
L_mask = L_dice(pred, Mask_prm) + lambda * 1/3 * sum over Mask_sam of L_dice(pred, mask),
lambda = .25. Reading: "highest, medium and lowest score" are ranks 2, 4 and 6 of the six proposals
by refined score, as in the released code; of shorter bags the second, the middle and the last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from int_bench.backbones.solov2.architecture import Architecture
from int_bench.backbones.solov2.head import Outputs
from int_bench.backbones.solov2.losses import DICE_WEIGHT, Labels, assigned, dice_of_cells

WEIGHT = 0.25


def ranks(bag: int) -> tuple[int, int, int]:
    """Which masks of a bag, sorted by score from 0, are the further ones.

    >>> ranks(6), ranks(3)
    ((1, 3, 5), (1, 1, 2))
    """
    return min(1, bag - 1), bag // 2, bag - 1


def multi_mask_loss(
    outputs: Outputs,
    labels: Sequence[Labels],
    others: Sequence[Tensor],
    architecture: Architecture,
    classes: int,
    size: tuple[int, int],
) -> Tensor:
    """The second term of Eq. 11, a scalar.

    Each further mask has its own cells, around its own centre of mass, at level and region of the
    chosen box. Nothing is learnt of categories.

    Args:
        outputs: of a batch.
        labels: by picture, the chosen ones.
        others: by picture (N, 3, H, W) bool, in the order of the labels.
        architecture: grids and ranges.
        classes: number of categories.
        size: (height, width) of the padded pictures in pixels.
    """
    masks = [bags.flatten(0, 1) for bags in others]
    moved = [
        Labels(mask, part.boxes.repeat_interleave(3, 0), part.categories.repeat_interleave(3))
        for mask, part in zip(masks, labels, strict=True)
    ]
    cells = assigned(moved, architecture, classes, size)
    losses = dice_of_cells(outputs, cells, masks)
    which = torch.cat([picture.instance % 3 for picture in cells])
    total = losses.new_zeros(())
    for rank in range(3):
        positive = sum(len(picture.of(picture.instance % 3 == rank)) for picture in cells)
        total = total + losses[(which == rank).to(losses.device)].sum() / max(positive, 1)
    return WEIGHT * DICE_WEIGHT * total / 3
