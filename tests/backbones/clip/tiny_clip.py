"""A random CLIP of 32 x 32 pixels, in open_clip's local-dir format with a word-level tokenizer."""

import json
from pathlib import Path

import numpy as np
import open_clip
import PIL.Image
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from int_bench.backbones.clip.surgery import ClipSurgery
from int_bench.core.templates import CLIP_TEMPLATES
from int_bench.core.types import Picture

IMAGE_SIZE, PATCH_SIZE, LAYERS, HEADS, WIDTH = 32, 8, 3, 2, 64
NAMES = ("frog", "snake", "leaves", "bark", "camouflaged animal")


def words():
    """Padding and unknown first, the end token last: open_clip pools at the highest id."""
    texts = " ".join((*NAMES, *CLIP_TEMPLATES)).replace("{name}", " ").lower()
    plain = sorted({word for word in texts.replace(".", " . ").replace("-", " - ").split()})
    return ["<pad>", "<unk>", "<start>", *plain, "<end>"]


def tokenizer():
    """A word-level tokenizer that wraps a text in start and end tokens."""
    vocabulary = {word: index for index, word in enumerate(words())}
    backend = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    backend.normalizer = Lowercase()
    backend.pre_tokenizer = Whitespace()
    ends = [(word, vocabulary[word]) for word in ("<start>", "<end>")]
    backend.post_processor = TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
    )


def config(quick_gelu=False):
    """The content of open_clip_config.json."""
    vision = {
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH_SIZE,
        "layers": LAYERS,
        "width": WIDTH,
        "head_width": WIDTH // HEADS,
    }
    text = {
        "context_length": 20,
        "vocab_size": len(words()),
        "hf_tokenizer_name": "local",
        "width": 32,
        "heads": 2,
        "layers": 2,
    }
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text, "quick_gelu": quick_gelu}
    preprocess = {"mean": [0.5, 0.45, 0.4], "std": [0.25, 0.26, 0.27], "interpolation": "bicubic"}
    return {"model_cfg": model, "preprocess_cfg": preprocess}


def write_tiny_clip(folder: Path, quick_gelu=False, seed=0) -> Path:
    """Configuration, random weights and tokenizer files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = config(quick_gelu)
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    tokenizer().save_pretrained(folder)
    cfg = written["model_cfg"]
    model = open_clip.CLIP(24, cfg["vision_cfg"], cfg["text_cfg"], quick_gelu)
    generator = torch.Generator().manual_seed(seed)
    state = model.state_dict()
    for name, tensor in state.items():
        noise = torch.randn(tensor.shape, generator=generator)
        gain = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
        scale = 0.3 if tensor.ndim < 2 else tensor.shape[-1] ** -0.5
        state[name] = gain + scale * noise
    save_file(state, folder / "open_clip_model.safetensors")
    return folder


def picture(height, width, seed=0):
    """Smooth random colours, so that tokens differ in more than noise."""
    generator = np.random.default_rng(seed)
    small = PIL.Image.fromarray(generator.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return Picture(np.asarray(small.resize((width, height), PIL.Image.Resampling.BICUBIC)))


def aligner(folder, **options):
    return ClipSurgery(folder, device="cpu", **({"blocks": 2} | options))
