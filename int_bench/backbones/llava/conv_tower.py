"""A convolutional vision tower for tiny LLaVA models, registered with AutoConfig and AutoModel.

Importing this module is all that ``from_pretrained`` needs. A dense network (convolutions with
batch norm, a map of stride 8) names each cell, gives it a box as FCOS does (Tian et al. 2019:
distances to the four sides), and names the environment. Its maps become LLaVA's image tokens:
2 x 2 cells per token with features, class probabilities and box, and the box once more as bumps
along each axis, so that a two-layer language model can read coordinates off.

Reading: a tiny CLIPVisionModel does not learn these textures in minutes; convolutions do. LLaVA
takes any vision config that yields a sequence of tokens.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

_STRIDE = 8
_MERGE = 2  # cells per token along each axis


class ConvTowerConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """Sizes of the tower.

    Attributes:
        image_size: side of the square input in pixels; a multiple of 16.
        patch_size: pixels per token along each axis; 16.
        hidden_size: width of a token.
        widths: channels at stride 2, 4, 8 and 16.
        neck_width: channels of the dense map.
        num_names: names that a cell can have, besides background.
        num_environments: environments that an image can have.
        box_bins: bumps along each axis that code a box for the language model.
    """

    model_type = "int_bench_conv_tower"

    def __init__(  # noqa: PLR0913  (a transformers config takes its fields as keywords)
        self,
        image_size: int = 128,
        patch_size: int = _STRIDE * _MERGE,
        hidden_size: int = 128,
        widths: tuple[int, ...] | list[int] = (32, 64, 96, 128),
        neck_width: int = 96,
        num_names: int = 10,
        num_environments: int = 10,
        box_bins: int = 26,
        num_channels: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_size = image_size
        self.patch_size = patch_size
        self.hidden_size = hidden_size
        self.widths = list(widths)
        self.neck_width = neck_width
        self.num_names = num_names
        self.num_environments = num_environments
        self.box_bins = box_bins
        self.num_channels = num_channels


@dataclass(frozen=True)
class DenseMaps:
    """What the dense network says of each cell; G is the side of the map, image_size / 8.

    Attributes:
        features: ``(N, neck_width, G, G)``.
        names: ``(N, 1 + num_names, G, G)`` float32 logits, channel 0 is background.
        boxes: ``(N, 4, G, G)`` float32 x0, y0, x1, y1 of the cell's animal, in 0..1 of the input.
        environments: ``(N, num_environments)`` float32 logits.
    """

    features: Tensor
    names: Tensor
    boxes: Tensor
    environments: Tensor


class _Block(nn.Module):
    """Convolution, batch norm and GELU, with a shortcut where the shape allows one."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: int = 1, kernel: int = 3
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            channels_in, channels_out, kernel, stride, kernel // 2, bias=False
        )
        self.norm = nn.BatchNorm2d(channels_out)
        self.shortcut = channels_in == channels_out and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = functional.gelu(self.norm(self.convolution(x)))
        return x + y if self.shortcut else y


class DenseNetwork(nn.Module):
    """Names, boxes and environment of an image, dense at stride 8."""

    centres: Tensor

    def __init__(self, config: ConvTowerConfig) -> None:
        super().__init__()
        first, second, third, fourth = config.widths
        self.fine = nn.Sequential(
            _Block(config.num_channels, first, 2),
            _Block(first, first),
            _Block(first, second, 2),
            _Block(second, second),
            _Block(second, third, 2),
            _Block(third, third),
            _Block(third, third),
        )
        self.coarse = nn.Sequential(
            _Block(third, fourth, 2), _Block(fourth, fourth), _Block(fourth, fourth)
        )
        self.neck = _Block(third + fourth, config.neck_width, kernel=1)
        self.names = nn.Conv2d(config.neck_width, 1 + config.num_names, 1)
        self.boxes = nn.Conv2d(config.neck_width, 4, 1)
        self.environments = nn.Linear(config.neck_width, config.num_environments)
        side = config.image_size // _STRIDE
        centres = torch.tensor([(i + 0.5) / side for i in range(side)])
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self.register_buffer("centres", torch.stack([x, y, x, y])[None])

    def forward(self, pixels: Tensor) -> DenseMaps:
        """Maps of normalised pixels ``(N, 3, image_size, image_size)``."""
        fine = self.fine(pixels)
        coarse = functional.interpolate(self.coarse(fine), scale_factor=2.0)
        features = self.neck(torch.cat([fine, coarse], 1))
        reach = functional.softplus(self.boxes(features).float() - 1.0)
        boxes = self.centres.float() + torch.cat([-reach[:, :2], reach[:, 2:]], 1)
        environments = self.environments(features.mean((2, 3))).float()
        return DenseMaps(features, self.names(features).float(), boxes, environments)


def _grid_code(side: int, width: int) -> Tensor:
    """Sines and cosines of each token's row and column, ``(1, side * side, width)``."""
    count = width // 4
    places = torch.tensor([(i + 0.5) / side for i in range(side)])
    rates = torch.tensor([math.pi * side ** (i / (count - 1)) for i in range(count)])
    phase = places[:, None] * rates
    code = torch.cat([phase.sin(), phase.cos()], 1)
    rows, columns = code[:, None].expand(-1, side, -1), code[None].expand(side, -1, -1)
    return torch.cat([rows, columns], 2).reshape(1, side * side, width)


class ConvTower(PreTrainedModel):  # type: ignore[no-untyped-call]
    """The tower as LLaVA sees it: pixels in, ``(image_size / 16)^2`` tokens out."""

    config_class = ConvTowerConfig
    main_input_name = "pixel_values"
    _supports_sdpa = True  # no attention inside, so any implementation will do
    base_model_prefix = "conv_tower"
    bins: Tensor

    def __init__(self, config: ConvTowerConfig) -> None:
        super().__init__(config)
        self.dense = DenseNetwork(config)
        cells = config.neck_width + 1 + config.num_names + 4
        width = cells * _MERGE**2 + 4 * config.box_bins
        self.projection = nn.Linear(width, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        side = config.image_size // (_STRIDE * _MERGE)
        self.positions = nn.Parameter(_grid_code(side, config.hidden_size))
        bins = [i / (config.box_bins - 1) for i in range(config.box_bins)]
        self.register_buffer("bins", torch.tensor(bins))
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's own initialisation, which suits convolutions."""

    def tokens(self, maps: DenseMaps) -> Tensor:
        """Image tokens of dense maps, ``(N, T, hidden_size)``, row by row."""
        share = maps.names.softmax(1)
        offsets = maps.boxes - self.dense.centres.float()
        cells = torch.cat([maps.features.float(), 4.0 * share, 4.0 * offsets], 1)
        cells = functional.pixel_unshuffle(cells, _MERGE)
        away = maps.boxes[:, :, None] - self.bins.float()[None, None, :, None, None]
        bumps = torch.exp(-((away / 0.04) ** 2)) * (1.0 - share[:, None, :1])
        bumps = 4.0 * functional.avg_pool2d(bumps.flatten(1, 2), _MERGE)
        merged = torch.cat([cells, bumps], 1).flatten(2).transpose(1, 2)
        projected = self.norm(self.projection(merged.to(self.projection.weight.dtype)))
        return torch.add(projected, self.positions)

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """Tokens of normalised pixels ``(N, 3, image_size, image_size)``."""
        tokens = self.tokens(self.dense(pixel_values.to(self.projection.weight.dtype)))
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens,
            pooler_output=tokens.mean(1),
            hidden_states=(tokens, tokens),
        )


AutoConfig.register(ConvTowerConfig.model_type, ConvTowerConfig, exist_ok=True)
AutoModel.register(ConvTowerConfig, ConvTower, exist_ok=True)
