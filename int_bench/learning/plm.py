"""Training of PLM and PMM on a frozen SAM, whose embeddings are computed once.

After the abstract and figures of 2403.09199; details ours. The loss of a batch of objects, each
with one prompt::

    L = 20 L_focal(M) + L_dice(M) + (q - IoU)^2 + l_pm L_pm          l_pm = 1

Reading: the mix of the first three is SAM's own; the paper's weights are not known. L_pm reaches
the PLM through the features u at the contour's points; the contour itself is data.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from int_bench.backbones.common.adapter import hash_of_weights, write
from int_bench.backbones.common.batching import chunks
from int_bench.backbones.sam.decoding import Decoded, decode_masks, embed_prompts, position_of
from int_bench.backbones.sam.model import Sam
from int_bench.backbones.sam.plm import PlmOptions, PmmOptions
from int_bench.backbones.sam.sam_plm import SamModules, SamPlm, Trained
from int_bench.core.limits import Above, AtLeast, Count, Within
from int_bench.core.protocols import Backbone
from int_bench.data.dataset import Dataset
from int_bench.errors import UsageError
from int_bench.learning.features import Features, embeddings
from int_bench.learning.mask_losses import overlaps
from int_bench.learning.pmm import Matching, contours_of, matched, point_loss
from int_bench.learning.targets import Targets, targets
from int_bench.learning.training import Fitting, recipe_of

ALPHA, GAMMA = 0.25, 2.0
"""Of the focal loss: the values of Lin et al. (ICCV 2017), which SAM's code base uses."""
_BLOCK = 32
Weight = Annotated[float, AtLeast(0)]
"""Of a part of the loss."""


@dataclass(frozen=True)
class PlmTraining:
    """Trains the two modules, each open reading being one field.

    Attributes:
        plm: how the PLM is built.
        pmm: how the PMM is built.
        trained: ``plm``: the modules alone; ``plm_upscaling``, ``plm_decoder``: that of SAM's
            decoder as well.
        prompts: ``point``, drawn uniformly in the true mask; ``known``, the data set's own;
            ``box``, the tight box; ``mixed``, a uniform point or a box by steps.
        output: ``single``, SAM's single-mask output, since the task says what is meant; or
            ``best``, the least loss of the three others.
        loss: ``focal`` or ``bce``, beside the dice loss.
        matching: of contours; see :func:`int_bench.learning.pmm.matched`.
        focal_weight, bce_weight, dice_weight, iou_weight: of the parts of the loss.
        pmm_weight: l_pm; 0 trains without a PMM.
        steps, learning_rate, warm_up, weight_decay, clip, seed, report_every, save_every: of
            :class:`int_bench.learning.loop.Recipe`.
        batch: objects of a step.
        validated: so many objects of the validation split, drawn once, are looked at.
    """

    RUNTIME: ClassVar[tuple[str, ...]] = ("save_every",)

    plm: PlmOptions = field(default_factory=PlmOptions)
    pmm: PmmOptions = field(default_factory=PmmOptions)
    trained: Trained = "plm"
    prompts: Literal["point", "known", "box", "mixed"] = "point"
    output: Literal["single", "best"] = "single"
    loss: Literal["focal", "bce"] = "focal"
    matching: Matching = "cyclic"
    focal_weight: Weight = 20.0
    bce_weight: Weight = 5.0
    dice_weight: Weight = 1.0
    iou_weight: Weight = 1.0
    pmm_weight: Weight = 1.0
    steps: Count = 400
    batch: Count = 24
    learning_rate: Annotated[float, Above(0)] = 2e-3
    warm_up: Annotated[int, AtLeast(0)] = 20
    weight_decay: Annotated[float, Within(0, 1)] = 0.01
    clip: Annotated[float, Above(0)] = 1.0
    seed: Annotated[int, AtLeast(0)] = 0
    report_every: Count = 100
    save_every: Annotated[float, AtLeast(0)] = 60.0
    validated: Count = 128

    @property
    def roles(self) -> frozenset[str]:
        """The segmenter alone."""
        return frozenset({"segmenter"})

    @property
    def matching_module(self) -> PmmOptions | None:
        """How the PMM is built; None where there is none."""
        return self.pmm if self.pmm_weight > 0 else None

    def begin(
        self, data: Dataset, validation: Dataset, backbones: Mapping[str, Backbone], scratch: Path
    ) -> Fitting:
        """Encode the pictures of both splits, each once, and make modules that change nothing yet.

        Raises:
            UsageError: the segmenter is no SAM of this package, or no object can be trained on.
        """
        segmenter = backbones["segmenter"]
        if not isinstance(segmenter, Sam) or isinstance(segmenter, SamPlm):
            raise UsageError(
                "method=plm trains modules for a SAM without any; choose e.g. "
                "backbone/segmenter=zoo_sam."
            )
        learner, side = Learner(self, segmenter), segmenter.loaded.image_encoder.img_size
        seen, held = (
            Examples(embeddings(segmenter, part, scratch, name), targets(part, side, scratch, name))
            for part, name in ((data, "train"), (validation, "validation"))
        )
        return Fitting(
            model=learner.modules,
            recipe=recipe_of(self, "plm"),
            loss=partial(learner.loss, seen),
            validate=partial(learner.check, held),
            export=learner.export,
        )


@dataclass(frozen=True)
class Examples:
    """The samples of a split, with what the frozen encoder made of their pictures."""

    features: Features
    targets: Targets


class Learner:
    """A frozen SAM's prompt encoder and decoder with the modules that learn.

    Args:
        options: of the training.
        segmenter: the frozen SAM, which is not changed.
    """

    def __init__(self, options: PlmTraining, segmenter: Sam) -> None:
        loaded = segmenter.loaded
        decoder = deepcopy(loaded.mask_decoder).requires_grad_(False)
        self.sam: Any = SimpleNamespace(prompt_encoder=loaded.prompt_encoder, mask_decoder=decoder)
        self.options, self.place = options, segmenter.place
        self._frozen = hash_of_weights(segmenter.adapted())
        torch.manual_seed(options.seed)
        modules = SamModules(self.sam, options.plm, options.matching_module, options.trained)
        self.modules = modules.to(self.place).requires_grad_(True)

    def loss(
        self, examples: Examples, rng: np.random.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of a batch that the generator draws, and its parts."""
        options, known = self.options, examples.targets
        batch = known.take(rng.integers(len(known.ids), size=options.batch))
        boxed = rng.random() < {"box": 1.0, "mixed": 0.5}.get(options.prompts, 0.0)
        points = batch.points if options.prompts == "known" else uniform_points(batch.masks, rng)
        embedding = examples.features.take(batch.ids, self.place)
        decoded = self.decode(embedding, points, batch.boxes if boxed else None)
        true = batch.masks[:, 0].to(self.place)
        logits, scores = self._answers(decoded, true)
        overlap = overlaps(logits.detach()[:, None] > 0, true[:, None] > 0.5)[:, 0]
        score = (scores - overlap).square().mean()
        parts = {"mask": self.mask_loss(logits, true).mean(), "score": score}
        total = parts["mask"] + options.iou_weight * score
        if self.modules.pmm is not None:
            before, after = self.matching(decoded, embedding, logits, true)
            parts |= {"contour": before.mean(), "moved": after.mean()}
            total = total + options.pmm_weight * after.mean()
        return total, {name: value.detach() for name, value in parts.items()}

    def decode(self, embedding: Tensor, points: Tensor, boxes: Tensor | None) -> Decoded:
        """SAM's outputs for moved prompts.

        Args:
            embedding: (B, C, g, g).
            points: (B, 2) x, y in pixels of the model's square; not used with boxes.
            boxes: (B, 4) in the same frame, or None.
        """
        labels = torch.ones(len(points), 1, dtype=torch.int32, device=self.place)
        point = None if boxes is not None else (points[:, None].to(self.place), labels)
        prompts = embed_prompts(self.sam, point, None if boxes is None else boxes.to(self.place))
        position = position_of(self.sam, len(embedding))
        return decode_masks(self.sam, embedding, self.modules.plm(prompts, embedding, position))

    def mask_loss(self, logits: Tensor, true: Tensor) -> Tensor:
        """``20 L_focal + L_dice`` of each mask, over the last two axes."""
        options = self.options
        entropy = F.binary_cross_entropy_with_logits(logits, true, reduction="none")
        soft = logits.sigmoid()
        if options.loss == "focal":
            right = soft * true + (1 - soft) * (1 - true)
            share = ALPHA * true + (1 - ALPHA) * (1 - true)
            entropy = options.focal_weight * share * (1 - right) ** GAMMA * entropy
        else:
            entropy = options.bce_weight * entropy
        overlap = 2 * (soft * true).sum((-2, -1)) + 1
        dice = 1 - overlap / (soft.sum((-2, -1)) + true.sum((-2, -1)) + 1)
        return entropy.mean((-2, -1)) + options.dice_weight * dice

    def matching(
        self, decoded: Decoded, embedding: Tensor, logits: Tensor, true: Tensor
    ) -> tuple[Tensor, Tensor]:
        """L_pm of the contours of the masks, as they are and as the PMM moves them.

        Of each object with a mask in sight; zeros (1,) without any. Contours are those of masks at
        twice the decoder's resolution, the true ones enlarged from it as well.

        Args:
            decoded: whose up-scaled features are looked up.
            embedding: (B, C, g, g).
            logits: the masks, (B, 4g, 4g).
            true: (B, 4g, 4g), 0..1.
        """
        pmm = self.modules.pmm
        assert pmm is not None
        planes = torch.stack([logits.detach(), true - 0.5], dim=1)
        large = F.interpolate(planes, scale_factor=2, mode="bilinear").cpu().numpy() > 0
        both = [contours_of(large[:, plane], pmm.options.points) for plane in (0, 1)]
        seen = ~torch.stack(both).isnan().any(0).flatten(1).any(1)
        if not seen.any():
            return logits.new_zeros(1), logits.new_zeros(1)
        contours, truths = (contour[seen].to(self.place) for contour in both)
        wanted, beta = matched(contours, truths, self.options.matching), 1 / logits.shape[-1]
        moved = pmm(contours, self.modules.features(decoded, embedding)[seen.to(self.place)])
        return point_loss(contours, wanted, beta), point_loss(moved, wanted, beta)

    def check(self, examples: Examples) -> Mapping[str, float]:
        """Mean IoU for a uniform point, and L_pm with and without moves, of validation objects."""
        known, rows = examples.targets, dict[str, list[Tensor]]()
        drawn = np.random.default_rng(0).permutation(len(known.ids))[: self.options.validated]
        for picked in chunks(list(drawn), _BLOCK):
            batch = known.take(picked)
            points = uniform_points(batch.masks, np.random.default_rng(int(picked[0])))
            embedding = examples.features.take(batch.ids, self.place)
            points = batch.points if self.options.prompts == "known" else points
            decoded = self.decode(embedding, points, None)
            true = batch.masks[:, 0].to(self.place)
            logits, _ = self._answers(decoded, true)
            iou = overlaps(logits[:, None] > 0, true[:, None] > 0.5)[:, 0]
            rows.setdefault("iou", []).append(iou)
            if self.modules.pmm is not None:
                both = self.matching(decoded, embedding, logits, true)
                for name, value in zip(("contour", "moved"), both, strict=True):
                    rows.setdefault(name, []).append(value)
        return {name: float(torch.cat(parts).mean()) for name, parts in rows.items()}

    def export(self, folder: Path) -> None:
        """The adapter, float16."""
        modules = self.modules
        write(folder, SamPlm.ADAPTER, self._frozen, modules.sizes, modules.state_dict(), half=True)

    def _answers(self, decoded: Decoded, true: Tensor) -> tuple[Tensor, Tensor]:
        """The mask of each prompt that counts, (B, 4g, 4g), and its predicted IoU, (B,)."""
        best = torch.zeros(len(true), dtype=torch.long, device=self.place)
        if self.options.output == "best":
            several = decoded.masks[:, 1:].detach()
            best = 1 + self.mask_loss(several, true[:, None].expand_as(several)).argmin(1)
        rows = torch.arange(len(true), device=self.place)
        return decoded.masks[rows, best], decoded.ious[rows, best]


def uniform_points(masks: Tensor, rng: np.random.Generator) -> Tensor:
    """A point anywhere in the mask of each sample, (B, 2) x, y in pixels of the model's square.

    Args:
        masks: (B, K, s, s), 0..1, s a quarter of the square; the first of the K counts.
        rng: draws a cell that the mask has at least half of, and a place in it.
    """
    points = []
    for mask in masks[:, 0].numpy():
        rows, columns = np.nonzero(mask >= min(0.5, mask.max()))
        cell = int(rng.integers(len(rows)))
        points.append(4.0 * (np.array([columns[cell], rows[cell]]) + rng.random(2)))
    return torch.tensor(np.stack(points), dtype=torch.float32)
