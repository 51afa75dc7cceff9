"""Pictures as SOLOv2 sees them: scaled, normalised, padded."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from int_bench.backbones.solov2.architecture import Architecture
from int_bench.core.types import Image

_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of ImageNet, RGB, 0..255."""


def seen_size(size: tuple[int, int], architecture: Architecture) -> tuple[int, int]:
    """(height, width) of a picture of ``size`` as the network sees it, without padding.

    >>> seen_size((480, 640), Architecture(short=800, long=1333))
    (800, 1067)
    """
    if architecture.short == 0:
        return size
    factor = min(architecture.short / min(size), architecture.long / max(size))
    height, width = (max(1, int(side * factor + 0.5)) for side in size)
    return height, width


def padded_size(size: tuple[int, int], architecture: Architecture) -> tuple[int, int]:
    """(height, width) rounded up to the architecture's multiple."""
    height, width = (-(-side // architecture.multiple) * architecture.multiple for side in size)
    return height, width


def normalised(image: Image, architecture: Architecture) -> Tensor:
    """(H, W, 3) uint8 RGB to (3, h, w) float32: scaled, normalised, zeros right and below."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    size = seen_size((image.shape[0], image.shape[1]), architecture)
    if size != pixels.shape[1:]:
        pixels = interpolate(pixels[None], size, mode="bilinear")[0]
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    height, width = padded_size(size, architecture)
    return pad((pixels - mean) / std, (0, width - size[1], 0, height - size[0]))
