"""What is known of published checkpoints before a byte of them is here: sizes, files, addresses.

Parameters are those of the whole model; hashes and sizes of single files are their publishers'.
"""

from __future__ import annotations

from dataclasses import dataclass

_CONFIGS = ("*.json", "*.txt", "*.model", "*.jinja")
_TRANSFORMERS = (*_CONFIGS, "*.safetensors")
_DIFFUSERS = (
    "model_index.json",
    *(f"{part}/*.json" for part in ("scheduler", "tokenizer", "text_encoder", "unet", "vae")),
    "tokenizer/*.txt",
    "text_encoder/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
)
_SEGMENT_ANYTHING = "https://dl.fbaipublicfiles.com/segment_anything"
_GROUNDING_DINO = "https://github.com/IDEA-Research/GroundingDINO/releases/download"


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint.

    Attributes:
        parameters: their number; 0 if it is not known.
        bytes: of the download; None if it is not known.
        files: patterns of what is loaded of a hub's repository; all that may be loaded where
            nothing is known.
        url: of a single file that lies on no hub.
        sha256: of that file.
        bytes_per_token: of keys and values in 16 bit, for a language model.
        tokens: of one picture and a question about it.
        head: numbers that are held in 32 bit as well where all else is in 16.
    """

    parameters: int = 0
    bytes: int | None = None
    files: tuple[str, ...] = _TRANSFORMERS
    url: str | None = None
    sha256: str | None = None
    bytes_per_token: int = 0
    tokens: int = 0
    head: int = 0


KNOWN = {
    "llava-hf/llava-1.5-13b-hf": Checkpoint(
        13_351_494_656, 26_706_000_000, bytes_per_token=819_200, tokens=704, head=164_167_680
    ),
    "llava-hf/llava-1.5-7b-hf": Checkpoint(
        7_063_427_072, 14_130_000_000, bytes_per_token=524_288, tokens=704, head=131_334_144
    ),
    "llava-hf/llava-onevision-qwen2-0.5b-ov-hf": Checkpoint(
        893_618_208, 1_790_000_000, bytes_per_token=12_288, tokens=1586, head=136_192_000
    ),
    "sd2-community/stable-diffusion-2-inpainting": Checkpoint(
        1_289_952_427, 5_160_000_000, _DIFFUSERS
    ),
    "IDEA-Research/grounding-dino-tiny": Checkpoint(172_249_090, 690_000_000),
    "facebook/sam3": Checkpoint(860_000_000, 3_440_000_000),
    "timm/vit_base_patch16_clip_224.openai": Checkpoint(
        149_620_737, 600_000_000, (*_CONFIGS, "open_clip_model.safetensors")
    ),
    "google-bert/bert-base-uncased": Checkpoint(0, 1_000_000, _CONFIGS),
    "sam_vit_b_01ec64.pth": Checkpoint(
        93_735_472,
        375_042_383,
        url=f"{_SEGMENT_ANYTHING}/sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    "sam_vit_l_0b3195.pth": Checkpoint(
        312_342_832,
        1_249_524_607,
        url=f"{_SEGMENT_ANYTHING}/sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    "sam_vit_h_4b8939.pth": Checkpoint(
        641_090_608,
        2_564_550_879,
        url=f"{_SEGMENT_ANYTHING}/sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        head=62_900_000,  # the room for positions in the projections, and what stays in 32 bit
    ),
    "groundingdino_swint_ogc.pth": Checkpoint(
        173_000_000,
        693_997_677,
        url=f"{_GROUNDING_DINO}/v0.1.0-alpha/groundingdino_swint_ogc.pth",
        sha256="3b3ca2563c77c69f651d7bd133e97139c186df06231157a64c507099c52bc799",
    ),
}
"""By hub id, or by name for a single file."""

TAGS = {("ViT-B-16-quickgelu", "openai"): "timm/vit_base_patch16_clip_224.openai"}
"""Repositories behind open_clip's architectures and tags, as far as presets name them."""

UNKNOWN = Checkpoint()
"""Of what nobody here has heard: all configuration and safetensors of a repository."""


def known_as(name: str) -> Checkpoint:
    """What is known of a hub id, or of a file by the last part of its path."""
    return KNOWN.get(name) or KNOWN.get(name.rpartition("/")[2]) or UNKNOWN
