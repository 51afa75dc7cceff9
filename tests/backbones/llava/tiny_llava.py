"""Tiny random LLaVA checkpoints in transformers' own on-disk format, three kinds of tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

from int_bench.core import templates

SIDE, PATCH = 56, 14
IMAGE_TOKENS = (SIDE // PATCH) ** 2
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
NAMES = ("frog", "stick insect", "owl", "camouflaged sea snake", "leaf")
CORPUS = [
    *(text.format(task="camouflaged animal", name="frog", environment="leaves") for text in (
        templates.CAPTION, templates.NAME, templates.ENVIRONMENT, templates.BOX)),
    *NAMES, "USER: ASSISTANT: leaves bark coral", "[ 0.22 , 0.10 , 0.64 , 0.46 ]",
]  # fmt: skip

# The zoo's format: the end token is part of the chat.
VICUNA = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}"
    "{{ part['text'] }}{% endif %}{% endfor %} {% else %}ASSISTANT: "
    "{{ message['content'][0]['text'] }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
# The form of the LLaVA-1.5 checkpoints on the hub: every part ends in a blank, no end token.
HUB = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<image>\n' }}"
    "{% else %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
KINDS = {
    "pieces": ("pieces", VICUNA),
    "bytes": ("bytes", HUB),
    "words": ("words", VICUNA),
    "fallback": ("pieces", None),
}


def build_all(root: Path) -> dict[str, Path]:
    """Every kind of checkpoint, each in its folder."""
    built = {name: build(root / name, *how) for name, how in KINDS.items()}
    return built | {"onevision": build_onevision(root / "onevision")}


def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """``pieces`` (as sentencepiece, with <s>), ``bytes`` (byte-level BPE) or ``words``."""
    if kind == "words":
        core = Tokenizer(models.WordLevel(unk_token="<unk>"))
        core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.WordLevelTrainer(special_tokens=SPECIAL)
    else:
        core = Tokenizer(models.BPE(unk_token="<unk>"))
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if kind == "bytes" else [],
        )
    if kind == "pieces":
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        core.decoder = decoders.Metaspace(prepend_scheme="first")
    if kind == "bytes":
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
    core.train_from_iterator(CORPUS, trainer)
    if kind == "pieces":
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<s>" if kind == "pieces" else None,
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>"],
        padding_side="left",
    )


def build(folder: Path, kind: str = "pieces", template: str | None = VICUNA) -> Path:
    """Save a random checkpoint; a fifth of its vocabulary ends an answer, so lengths differ."""
    words = tokenizer(kind)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokenizer=words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    processor.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(_config(len(words), words))
    _finish(model, len(words), folder)
    return folder


def _finish(model: PreTrainedModel, vocabulary: int, folder: Path) -> None:
    """Larger weights than by default, so that answers differ; many end tokens; save."""
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(5)
    model.generation_config.eos_token_id = [2, *range(10, vocabulary, 6)]
    model.generation_config.pad_token_id = 3
    model.save_pretrained(folder)


def _config(vocabulary: int, words: PreTrainedTokenizerFast) -> LlavaConfig:
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
        image_size=SIDE, patch_size=PATCH, projection_dim=32,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        bos_token_id=1, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )


def build_onevision(folder: Path) -> Path:
    """Save a random LLaVA-OneVision checkpoint (tiles of 28 pixels, Qwen2 with a chat format)."""
    words = tokenizer("bytes")
    words.add_special_tokens({"additional_special_tokens": ["<image>", "<video>"]})
    sizes = [[28, 28], [28, 56], [56, 28], [56, 56]]
    LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(
            size={"height": 28, "width": 28}, image_grid_pinpoints=sizes
        ),
        tokenizer=words,
        video_processor=LlavaOnevisionVideoProcessor(size={"height": 28, "width": 28}),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=VICUNA,
    ).save_pretrained(folder)
    vision = SiglipVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        image_size=28, patch_size=14, vision_use_head=False,
    )  # fmt: skip
    text = Qwen2Config(
        vocab_size=len(words), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        bos_token_id=None, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip
    image, video = words.convert_tokens_to_ids(["<image>", "<video>"])
    config = LlavaOnevisionConfig(
        vision_config=vision, text_config=text, image_token_id=image, video_token_id=video,
        image_grid_pinpoints=sizes, vision_feature_select_strategy="full", vision_feature_layer=-1,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaOnevisionForConditionalGeneration(config)
    _finish(model, len(words), folder)
    return folder
