"""PLM and PMM: two small modules on a frozen SAM (Kim et al., arXiv 2403.09199).

After the abstract and figures of 2403.09199; details ours: neither a formula nor code of the paper
could be read. The prompt learning module moves the embedded prompt, so that the frozen decoder
draws what the task means; the point matching module moves the points of a contour. With g the side
of SAM's embedding and C its channels::

    f_I  = E_I(X)                (C, g, g)   image encoder, frozen
    f_P  = E_P(prompt)           (T, C)      prompt encoder, frozen
    f_P* = PLM(f_P, f_I)         (T, C)
    (M, u, q) = D(f_I, f_P*)     mask logits, up-scaled features, IoU; frozen
    V*   = PMM(V, u)             (K, 2)      V the contour of M
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from int_bench.backbones.sam.decoding import Prompts
from int_bench.core.limits import Count, Within


@dataclass(frozen=True)
class PlmOptions:
    """How the PLM is built; every field is a reading.

    Attributes:
        blocks: self-attention and prompt-to-image attention, one after the other, so many times.
        heads: of each attention; they divide SAM's channels.
        output: ``residual``, f_P* = f_P + d with d = 0 at the start, so that step 0 is SAM itself;
            or ``replace``, f_P* = d. Reading: "adjusts the prompt" is an addition.
        tokens: which tokens move: ``all`` (points, padding, corners of a box) or ``points``.
        task_tokens: learned tokens that follow the prompt's, as in prompt learning on text; with
            any, step 0 is not SAM.
    """

    blocks: Count = 1
    heads: Count = 8
    output: Literal["residual", "replace"] = "residual"
    tokens: Literal["all", "points"] = "all"
    task_tokens: Annotated[int, Within(0, 64)] = 0


@dataclass(frozen=True)
class PmmOptions:
    """How the PMM is built; every field is a reading.

    Attributes:
        points: K, points of a contour at equal arc length.
        features: what is looked up at them: ``upscaled``, the decoder's finest features, or
            ``embedding``, the picture's.
        layers: circular convolutions.
        kernel: their width in points, odd.
        channels: their width.
    """

    points: Annotated[int, Within(8, 4096)] = 128
    features: Literal["upscaled", "embedding"] = "upscaled"
    layers: Count = 3
    kernel: Annotated[int, Within(1, 31)] = 9
    channels: Count = 64


class Attention(nn.Module):
    """Multi-head attention of queries (B, N, C) to keys and values (B, M, C)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.mix = (
            nn.Linear(channels, channels) for _ in range(4)
        )

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(B, N, C)."""
        pairs = ((self.query, queries), (self.key, keys), (self.value, values))
        q, k, v = (layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer, x in pairs)
        mixed: Tensor = self.mix(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed


class PromptLearning(nn.Module):
    """PLM: self-attention among the tokens, attention to the picture, a perceptron.

    Args:
        channels: C of the SAM.
        options: the readings.
    """

    def __init__(self, channels: int, options: PlmOptions) -> None:
        super().__init__()
        self.options = options
        blocks, heads = range(options.blocks), options.heads
        self.own = nn.ModuleList(Attention(channels, heads) for _ in blocks)
        self.picture = nn.ModuleList(Attention(channels, heads) for _ in blocks)
        self.own_norm = nn.ModuleList(nn.LayerNorm(channels) for _ in blocks)
        self.picture_norm = nn.ModuleList(nn.LayerNorm(channels) for _ in blocks)
        self.inner, self.outer = (
            nn.Linear(channels, 2 * channels),
            nn.Linear(2 * channels, channels),
        )
        self.task = nn.Parameter(0.02 * torch.randn(options.task_tokens, channels))
        if options.output == "residual":
            nn.init.zeros_(self.outer.weight)
            nn.init.zeros_(self.outer.bias)

    def forward(self, prompts: Prompts, embeddings: Tensor, position: Tensor) -> Prompts:
        """The moved prompt: ``sparse`` alone changes.

        In a block, with PE SAM's encoding of places::

            a = LN(f_P + MHA(f_P, f_P, f_P))
            b = LN(a + MHA(q = a, k = f_I + PE, v = f_I))

        and of the last b: ``d = W2 gelu(W1 b)``, ``f_P* = f_P + d``.

        Args:
            prompts: B embedded prompts of T tokens.
            embeddings: (B, C, g, g).
            position: PE, (B, C, g, g).
        """
        moving = prompts.points if self.options.tokens == "points" else prompts.sparse.shape[1]
        tokens, still = prompts.sparse[:, :moving], prompts.sparse[:, moving:]
        tokens = torch.cat([tokens, self.task.expand(len(tokens), -1, -1)], dim=1)
        values = embeddings.flatten(2).transpose(1, 2)
        keys = (embeddings + position).flatten(2).transpose(1, 2)
        seen = tokens
        layers = zip(self.own, self.own_norm, self.picture, self.picture_norm, strict=True)
        for own, own_norm, picture, picture_norm in layers:
            seen = own_norm(seen + own(seen, seen, seen))
            seen = picture_norm(seen + picture(seen, keys, values))
        change = self.outer(F.gelu(self.inner(seen)))
        moved = tokens + change if self.options.output == "residual" else change
        return prompts._replace(sparse=torch.cat([moved, still], dim=1))


class PointMatching(nn.Module):
    """PMM: circular convolutions over the points of a contour say where they belong.

    Reading: as contour networks do (deep snake), of which the captions' "estimated points" and
    "adjusted points" speak. What the first point is changes nothing but the order.

    Args:
        channels: of the features that are looked up.
        options: the readings.
    """

    def __init__(self, channels: int, options: PmmOptions) -> None:
        super().__init__()
        self.options = options
        width, kernel = options.channels, 2 * (options.kernel // 2) + 1
        self.enter = nn.Linear(channels + 2, width)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, kernel, padding=kernel // 2, padding_mode="circular")
            for _ in range(options.layers)
        )
        self.leave = nn.Linear(width, 2)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, contours: Tensor, features: Tensor) -> Tensor:
        """V* = V + W e, with W = 0 at the start.

        ``z_k = [bilinear(u, v_k), v_k - mean(V)]``, and e is z through residual circular
        convolutions with ReLU.

        Args:
            contours: V, (B, K, 2) in 0..1 of the model's square, x first.
            features: u, (B, F, h, w) over the whole square.

        Returns:
            (B, K, 2).
        """
        grid = 2.0 * contours[:, None] - 1.0
        looked = F.grid_sample(features, grid, padding_mode="border", align_corners=False)
        centred = contours - contours.mean(1, keepdim=True)
        seen = self.enter(torch.cat([looked[:, :, 0].transpose(1, 2), centred], dim=2))
        seen = seen.transpose(1, 2)
        for layer in self.layers:
            seen = seen + F.relu(layer(seen))
        moved: Tensor = contours + self.leave(seen.transpose(1, 2))
        return moved
