"""LLaVA with random weights at any size, on the library's classes, without a file.

The tokenizer is a list of words: random answers are words too, so an answer that is put back into
a chat has the tokens it was written with. Nothing ends an answer but its length, which makes the
amount of work the same for all weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from int_bench.backbones.common.dtypes import Dtype
from int_bench.backbones.common.loading import cached_load
from int_bench.backbones.llava.fused import fused
from int_bench.backbones.llava.model import Llava, _Loaded, exact_head
from int_bench.core import templates
from int_bench.data.world.scenes import TASK_PROMPTS
from scripts.bench.untrained.weights import numbered, randomise, words

TASK = TASK_PROMPTS["cod"]
NAMES = (
    "frog", "stick insect", "owl", "leaf tailed gecko", "sea horse", "great grey sea snake",
    "crab", "pygmy sea horse", "moth",
)  # fmt: skip
"""Nine candidates of one to four tokens."""
SPECIAL = ("<unk>", "<s>", "<pad>", "</s>", "<image>")
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}"
    "{{ part['text'] }}{% endif %}{% endfor %} {% else %}ASSISTANT: "
    "{{ message['content'][0]['text'] }} </s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


@dataclass(frozen=True)
class LlavaSize:
    """Sizes of vision tower and language model; the tower always sees 24 x 24 = 576 patches."""

    tower_width: int
    tower_layers: int
    width: int
    inner: int
    layers: int
    heads: int
    vocabulary: int


TINY = LlavaSize(16, 2, 32, 64, 1, 2, 512)
SMALL = LlavaSize(64, 2, 256, 688, 4, 4, 1024)
LLAVA_13B = LlavaSize(1024, 24, 5120, 13824, 40, 40, 32064)


def random_llava(
    size: LlavaSize, device: str = "cpu", dtype: Dtype = "float32", **options: Any
) -> Llava:
    """A ``Llava`` backbone over random weights; equal arguments share them.

    Args:
        size: of the model.
        device: where the weights are made.
        dtype: their precision.
        options: further arguments of ``Llava`` (``max_batch``, ``prefix_cache_mb``, ...).
    """
    name = f"random llava {size.layers}x{size.width}"
    place, precision = torch.device(device), getattr(torch, dtype)
    backbone = Llava(name, device=device, dtype=dtype, **options)
    cached_load(backbone.weights_key, lambda: _build(size, place, precision))
    return backbone


def _build(size: LlavaSize, device: torch.device, dtype: torch.dtype) -> _Loaded:
    tokenizer = _tokenizer(size.vocabulary)
    with torch.device(device):
        model: Any = LlavaForConditionalGeneration._from_config(
            _config(size), dtype=dtype, attn_implementation="sdpa"
        )
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = SPECIAL.index("<pad>")
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    return _Loaded(fused(exact_head(randomise(model.to(device)))), processor)


def _config(size: LlavaSize) -> LlavaConfig:
    heads = max(1, size.tower_width // 64)
    vision = CLIPVisionConfig(
        hidden_size=size.tower_width, intermediate_size=4 * size.tower_width,
        num_hidden_layers=size.tower_layers, num_attention_heads=heads, image_size=336,
        patch_size=14, projection_dim=768,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=size.vocabulary, hidden_size=size.width, intermediate_size=size.inner,
        num_hidden_layers=size.layers, num_attention_heads=size.heads,
        num_key_value_heads=size.heads, max_position_embeddings=4096, bos_token_id=1,
        eos_token_id=None, pad_token_id=2,
    )  # fmt: skip
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=SPECIAL.index("<image>"),
        vision_feature_layer=-2, vision_feature_select_strategy="default",
    )  # fmt: skip


def _tokenizer(size: int) -> PreTrainedTokenizerFast:
    texts = (templates.CAPTION, templates.NAME, templates.ENVIRONMENT, templates.BOX, *NAMES)
    spoken = words(" ".join(("USER: ASSISTANT:", *texts)).format(task=TASK))
    core = Tokenizer(models.WordLevel(numbered([*SPECIAL, *spoken], size), unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<s>", "</s>", "<image>"],
    )
