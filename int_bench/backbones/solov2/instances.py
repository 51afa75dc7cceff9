"""From what SOLOv2's cells say to the instances of a picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from int_bench.backbones.solov2.architecture import Architecture
from int_bench.backbones.solov2.head import Outputs
from int_bench.backbones.solov2.matrix_nms import matrix_nms
from int_bench.backbones.solov2.targets import STRIDE


@dataclass(frozen=True)
class Decoding:
    """How cells become instances; the defaults are the released configuration's.

    Attributes:
        score: smallest probability of a category at a cell.
        mask: smallest probability of an object's pixel.
        considered: at most so many cells go into Matrix NMS.
        kept: smallest score after it.
        most: instances of a picture.
        sigma: of Matrix NMS.
    """

    score: float = 0.1
    mask: float = 0.5
    considered: int = 500
    kept: float = 0.05
    most: int = 100
    sigma: float = 2.0


@dataclass(frozen=True)
class Decoded:
    """The instances of one picture, best first: (N, H, W) bool, (N,) int64, (N,) float32."""

    masks: Tensor
    categories: Tensor
    scores: Tensor


def decode(
    outputs: Outputs,
    index: int,
    architecture: Architecture,
    seen: tuple[int, int],
    size: tuple[int, int],
    decoding: Decoding,
) -> Decoded:
    """The instances of one picture of a batch.

    Args:
        outputs: of the batch.
        index: of the picture in it.
        architecture: grids and strides.
        seen: (height, width) of the picture as the network saw it, without padding.
        size: (height, width) of the picture itself.
        decoding: thresholds.
    """
    kernels, categories, scores, strides = _candidates(outputs, index, architecture, decoding)
    features = outputs.features[index]
    soft = (kernels @ features.flatten(1)).unflatten(1, features.shape[1:]).sigmoid()
    hard = soft > decoding.mask
    areas = hard.flatten(1).sum(1).to(scores.dtype)
    large = areas > strides
    soft, hard, areas, categories = soft[large], hard[large], areas[large], categories[large]
    scores = scores[large] * (soft * hard).flatten(1).sum(1) / areas
    order = scores.argsort(descending=True, stable=True)[: decoding.considered]
    decayed = matrix_nms(
        hard[order], categories[order], scores[order], areas[order], decoding.sigma
    )
    again = decayed.argsort(descending=True, stable=True)
    again = again[decayed[again] >= decoding.kept][: decoding.most]
    order = order[again]
    masks = _enlarged(soft[order], seen, size) > decoding.mask
    return Decoded(masks, categories[order], decayed[again])


def _candidates(
    outputs: Outputs, index: int, architecture: Architecture, decoding: Decoding
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Kernels (N, K), categories, probabilities and strides (N,) of cells above the threshold.

    A cell's category counts where it is the largest of a 2 x 2 window: an NMS of points.
    """
    kernels, kinds, scores, strides = [], [], [], []
    rows = zip(outputs.kernels, outputs.categories, architecture.strides, strict=True)
    for kernel, logits, stride in rows:
        probabilities = logits[index].sigmoid()
        peaks = max_pool2d(probabilities, 2, 1, 1)[:, :-1, :-1] == probabilities
        flat = (probabilities * peaks).flatten(1).T
        cell, kind = torch.nonzero(flat > decoding.score, as_tuple=True)
        kernels.append(kernel[index].flatten(1).T[cell])
        kinds.append(kind)
        scores.append(flat[cell, kind])
        strides.append(scores[-1].new_full((len(cell),), float(stride)))
    return torch.cat(kernels), torch.cat(kinds), torch.cat(scores), torch.cat(strides)


def _enlarged(soft: Tensor, seen: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Masks at stride 4, (N, h, w), at the size of the picture; padding is cut off."""
    if len(soft) == 0:
        return soft.new_zeros((0, *size))
    padded = interpolate(soft[None], scale_factor=float(STRIDE), mode="bilinear")
    cut = padded[..., : seen[0], : seen[1]]
    return interpolate(cut, size, mode="bilinear")[0] if seen != size else cut[0]
