"""Train the tiny GroundingDINO of the zoo: ``python -m int_bench.zoo.training grounding_dino``.

The class is ``transformers.GroundingDinoForObjectDetection`` with a small ResNet, a one-layer text
encoder and one layer each of encoder and decoder. Phase 1 trains the backbone alone with a dense
loss (name per cell, box per cell), phase 2 the whole detector with one-to-many losses, because the
loss of the class leaves the proposal stage untrained, and phase 3 goes on with more queries, which
one large animal does not fill. Three facts about the class shape this file:
its backbone is frozen and its batch norms too (both are undone while training), and a decoder of
one layer needs ``decoder_bbox_embed_share=False``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
    RTDetrResNetBackbone,
    RTDetrResNetConfig,
)
from transformers.modeling_outputs import BackboneOutput

from int_bench.data.world.names import ENVIRONMENTS, NAMES, TASK_PROMPTS
from int_bench.learning.loop import Recipe, fit
from int_bench.zoo.training.grounding_dino import data as data
from int_bench.zoo.training.grounding_dino import loss as losses
from int_bench.zoo.training.grounding_dino.check import Validator
from int_bench.zoo.training.pool import SIZE, Pool, load_pool

# The class finds the ends of phrases by these four ids: [CLS], [SEP], the full stop, "?".
SPECIAL = {
    "[PAD]": 0,
    "[UNK]": 100,
    "[CLS]": 101,
    "[SEP]": 102,
    "[MASK]": 103,
    ".": 1012,
    "?": 1029,
}
FIRST_WORD = 200
VOCABULARY = 1030
BACKBONE_STEPS, FIRST_STEPS, DETECTOR_STEPS = 1500, 1200, 1300
FIRST_QUERIES, QUERIES = 16, 48
"""Proposals of the first run, which one large animal may fill, and of the second."""
SHARPER = 1.6
"""Factor on the logits, chosen on validation: 0.30, the demo's threshold, then fits the scores."""
NEGATIVE = 0.65  # weight of wrong words in the decoder; it moves the scores against the threshold


def vocabulary() -> dict[str, int]:
    """Word to id: the fixed special ids, the world's words from 200 on, unused rows between."""
    words = sorted(
        {
            word
            for text in (*NAMES, *ENVIRONMENTS, *TASK_PROMPTS.values(), "and")
            for word in text.split()
        }
    )
    ids = SPECIAL | {word: FIRST_WORD + index for index, word in enumerate(words)}
    taken = set(ids.values())
    unused = {f"[unused{index}]": index for index in range(VOCABULARY) if index not in taken}
    return dict(sorted((ids | unused).items(), key=lambda item: item[1]))


def build_processor() -> GroundingDinoProcessor:
    """Image processor (longest side 128, padded to a square, PIL) and word tokenizer."""
    images = GroundingDinoImageProcessorPil(
        size={"shortest_edge": SIZE, "longest_edge": SIZE},
        pad_size={"height": SIZE, "width": SIZE},
        image_mean=list(data.MEAN),
        image_std=list(data.STD),
    )
    tokenizer = BertTokenizer(vocab=vocabulary(), model_max_length=data.MAX_TEXT)
    return GroundingDinoProcessor(images, tokenizer)


def backbone_config() -> RTDetrResNetConfig:
    """A ResNet with a stem of three 3x3 convolutions; strides 8 and 16 come out."""
    return RTDetrResNetConfig(
        embedding_size=48,
        hidden_sizes=[48, 96, 128],
        depths=[1, 2, 2],
        layer_type="basic",
        out_features=["stage2", "stage3"],  # type: ignore[call-arg]  # of the base class
    )


def build_model(queries: int) -> GroundingDinoForObjectDetection:
    """The detector with random weights and frozen batch norms, as it is saved and loaded."""
    text = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    width = 96
    config = GroundingDinoConfig(
        backbone_config=backbone_config(),
        text_config=text,
        d_model=width,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        num_queries=queries,
        num_feature_levels=3,
        max_text_len=data.MAX_TEXT,
        decoder_bbox_embed_share=False,
        disable_custom_kernels=True,
        auxiliary_loss=False,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        fusion_droppath=0.0,
        fusion_dropout=0.0,
        text_enhancer_dropout=0.0,
    )
    return GroundingDinoForObjectDetection(config)


class DenseBackbone(nn.Module):
    """Phase 1: the backbone and a linear head for name and box in every stride-8 cell."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = RTDetrResNetBackbone(backbone_config())
        self.head = nn.Conv2d(sum(self.backbone.channels), 1 + len(NAMES) + 4, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Map (B, 3, 128, 128) normalised pixels to (B, 1 + 22 + 4, 16, 16)."""
        fine, coarse = self.backbone(pixels).feature_maps
        coarse = nn.functional.interpolate(coarse, scale_factor=2.0)
        maps: torch.Tensor = self.head(torch.cat([fine, coarse], 1))
        return maps


def pretrain_backbone(pool: Pool, steps: int) -> RTDetrResNetBackbone:
    """Phase 1: dense names and boxes."""
    torch.manual_seed(0)
    model = DenseBackbone().to(memory_format=torch.channels_last)

    def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        views = data.draw_views(pool, rng.integers(0, len(pool.kind), 48), rng)
        pixels = data.normalise(views.images, views.pixel_mask)
        maps = model(pixels.contiguous(memory_format=torch.channels_last)).float()
        return losses.dense_loss(maps, views, len(NAMES)), {}

    held_out = Validator()
    recipe = Recipe("grounding_dino_1", steps, learning_rate=3e-3, clip=5.0, report_every=200)
    fit(model, recipe, loss, lambda: held_out.dense(model))
    return model.backbone


class TrainableBackbone(nn.Module):
    """The pre-trained backbone in the detector: bfloat16, its batch norms at their averages.

    The averages stay those of phase 1 so that the saved detector, whose norms are frozen, computes
    what was trained.
    """

    def __init__(self, backbone: RTDetrResNetBackbone) -> None:
        super().__init__()
        self.inner = backbone

    def train(self, mode: bool = True) -> TrainableBackbone:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, pixels: Tensor, **options: object) -> BackboneOutput:
        """As the backbone's own forward, feature maps in float32."""
        with torch.autocast(pixels.device.type, torch.bfloat16):
            out = self.inner(pixels.contiguous(memory_format=torch.channels_last))
        return BackboneOutput(feature_maps=tuple(m.float() for m in out.feature_maps))


def trainable_model(backbone: RTDetrResNetBackbone) -> GroundingDinoForObjectDetection:
    """The detector with a backbone that learns, and contrastive logits that start near zero."""
    model = build_model(FIRST_QUERIES)
    model.model.backbone.conv_encoder.model = TrainableBackbone(backbone)
    with torch.no_grad():  # The contrastive heads have neither scale nor bias.
        model.model.enc_output_norm.weight.mul_(0.3)
        model.model.decoder.layer_norm.weight.mul_(0.3)
    return model.requires_grad_(True)


def ask_more(model: GroundingDinoForObjectDetection, queries: int) -> None:
    """Give the detector more queries, copies of those that it has."""
    weight = model.model.query_position_embeddings.weight.detach()
    more = weight.repeat(-(-queries // len(weight)), 1)[:queries]
    model.model.query_position_embeddings = nn.Embedding.from_pretrained(more, freeze=False)
    model.config.num_queries = queries


def train_detector(
    pool: Pool, model: GroundingDinoForObjectDetection, recipe: Recipe
) -> GroundingDinoForObjectDetection:
    """Phase 2 and 3: the whole detector, on all losses."""
    tokenizer = build_processor().tokenizer

    def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        rows = data.draw_rows(pool, 24, rng)
        views = data.draw_views(pool, rows, rng)
        places = pool.environments[rows].tolist()
        prompts = [
            data.draw_prompt(names, place, rng)
            for names, place in zip(views.names.tolist(), places, strict=True)
        ]
        tokens, words = data.encode(tokenizer, prompts, views.names)
        pixels = data.normalise(views.images, views.pixel_mask)
        out = model(pixel_values=pixels, pixel_mask=views.pixel_mask, **tokens)
        valid = tokens["attention_mask"].bool()
        encoder = losses.encoder_loss(out, words, valid, views)
        decoder = losses.decoder_loss(out, words, valid, views, NEGATIVE)
        return encoder + decoder, {"encoder": encoder.detach(), "decoder": decoder.detach()}

    held_out = Validator()
    fit(model, recipe, loss, lambda: held_out.detector(model, tokenizer))
    return model


def detector_recipe(name: str, steps: int, learning_rate: float) -> Recipe:
    """A run of the whole detector; its backbone, which can name already, learns slower."""
    return Recipe(
        name,
        steps,
        learning_rate=learning_rate,
        factors={"model.backbone.conv_encoder": 0.27},
        autocast=False,
        report_every=200,
    )


def library_model(trained: nn.Module) -> GroundingDinoForObjectDetection:
    """The trained weights in the library's own class, with its frozen batch norms."""
    state = {
        name.replace("conv_encoder.model.inner.", "conv_encoder.model."): value
        for name, value in trained.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    model = build_model(QUERIES)
    model.load_state_dict(state)
    model.eval()
    return model


def sharpen(model: Any, factor: float) -> None:
    """Multiply all logits of names; the boxes stay.

    The heads have no scale of their own, so it goes into the norm before them.
    """
    norm, boxes = model.model.decoder.layer_norm, model.bbox_embed[0].layers[0]
    with torch.no_grad():
        norm.weight.mul_(factor)
        norm.bias.mul_(factor)
        boxes.weight.div_(factor)


def save(model: GroundingDinoForObjectDetection, out: Path) -> None:
    """Write weights as fp16, configuration, tokenizer and image processor into ``out``."""
    model.half().save_pretrained(out)
    build_processor().save_pretrained(out)


def train(out: Path, steps: int | None = None) -> None:
    """Train all phases and save into ``out``.

    Args:
        out: folder of the checkpoint.
        steps: steps of the last phase; None takes those of the shipped checkpoint.
    """
    pool = load_pool("train")
    backbone = pretrain_backbone(pool, BACKBONE_STEPS)
    torch.manual_seed(1)
    model = trainable_model(backbone)
    train_detector(pool, model, detector_recipe("grounding_dino_2", FIRST_STEPS, 1.5e-3))
    ask_more(model, QUERIES)
    again = detector_recipe("grounding_dino_3", steps or DETECTOR_STEPS, 1.2e-3)
    detector = library_model(train_detector(pool, model, again))
    sharpen(detector, SHARPER)
    save(detector, out)
