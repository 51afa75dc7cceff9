"""The zoo's CLIP on disk: ``open_clip``'s local-dir format with a word-level tokenizer.

``open_clip.create_model_and_transforms("local-dir:DIR")`` and
``open_clip.get_tokenizer("local-dir:DIR")`` read the folder; no other file is needed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import open_clip
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from int_bench.core.templates import CLIP_TEMPLATES
from int_bench.data.world.scenes import ENVIRONMENTS, NAMES, TASK_PROMPTS
from int_bench.zoo.training import vit
from int_bench.zoo.training.half import save_half

EMBED_DIM = 128
CONTEXT = 16
PAD, UNKNOWN, BEGIN, END = "[PAD]", "[UNK]", "[BOS]", "[EOS]"


def vocabulary() -> list[str]:
    """All words of the templates and of the world; END is last, as CLIP pools the highest id."""
    texts = [template.format(name="") for template in CLIP_TEMPLATES]
    texts += [*NAMES, *ENVIRONMENTS, *TASK_PROMPTS.values(), "and"]
    words = {word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text.lower())}
    return [PAD, UNKNOWN, BEGIN, *sorted(words), END]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Lower-cased words and punctuation between BEGIN and END."""
    words = vocabulary()
    ids = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=[(BEGIN, ids[BEGIN]), (END, ids[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD, unk_token=UNKNOWN, bos_token=BEGIN, eos_token=END,
        model_max_length=CONTEXT,
    )  # fmt: skip


def config() -> dict[str, Any]:
    """The content of ``open_clip_config.json``."""
    vision = {
        "image_size": vit.SIDE * vit.PATCH, "patch_size": vit.PATCH, "layers": vit.DEPTH,
        "width": vit.WIDTH, "head_width": vit.WIDTH // vit.HEADS, "no_ln_pre": True,
    }  # fmt: skip
    text = {
        "context_length": CONTEXT, "vocab_size": len(vocabulary()), "width": 64, "heads": 2,
        "layers": 2, "hf_tokenizer_name": "clip",
    }  # fmt: skip
    return {
        "model_cfg": {"embed_dim": EMBED_DIM, "vision_cfg": vision, "text_cfg": text},
        "preprocess_cfg": {
            "mean": [vit.MEAN] * 3, "std": [vit.STD] * 3,
            "interpolation": "bicubic", "resize_mode": "squash",
        },
    }  # fmt: skip


def build() -> open_clip.CLIP:
    """The model with open_clip's own initialisation."""
    return open_clip.CLIP(**config()["model_cfg"])


def save(model: open_clip.CLIP, folder: Path) -> None:
    """Write configuration, tokenizer and fp16 weights."""
    folder.mkdir(parents=True, exist_ok=True)
    build_tokenizer().save_pretrained(folder)
    text = json.dumps(config(), indent=2) + "\n"
    (folder / "open_clip_config.json").write_text(text, encoding="utf-8")
    save_half(model, folder / "open_clip_model.safetensors")


def tokens(texts: list[str]) -> torch.Tensor:
    """``(len(texts), CONTEXT)`` int64 ids, as open_clip's tokenizer of the folder gives them."""
    encoded = build_tokenizer()(
        texts, max_length=CONTEXT, padding="max_length", truncation=True, return_tensors="pt"
    )
    ids: torch.Tensor = encoded.input_ids
    return ids
