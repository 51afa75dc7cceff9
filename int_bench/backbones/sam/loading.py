"""Builds ``segment_anything`` models: the published sizes from a .pth file, any size from a folder.

A folder holds ``config.json`` (the fields of `SamConfig`) and ``model.safetensors`` (the state dict
of ``segment_anything.modeling.Sam``), or is an adapter: a mask decoder for a shipped model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from int_bench.backbones.common.adapter import hash_of_weights
from int_bench.backbones.common.adapter import read as read_adapter
from int_bench.backbones.common.loading import ZOO_PREFIX, load_errors, missing, resolve
from int_bench.backbones.common.precision import spelled
from int_bench.core.files import expanded
from int_bench.errors import MissingAsset, UsageError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
DECODER = "sam_decoder"
"""The kind of an adapter that is a mask decoder."""
DECODER_PREFIX = "mask_decoder."
PublishedSize = Literal["vit_b", "vit_l", "vit_h"]
PUBLISHED: dict[str, str] = {
    "vit_b": "sam_vit_b_01ec64.pth",
    "vit_l": "sam_vit_l_0b3195.pth",
    "vit_h": "sam_vit_h_4b8939.pth",
}
_PUBLISHED_AT = "https://dl.fbaipublicfiles.com/segment_anything"


@dataclass(frozen=True)
class SamConfig:
    """The sizes of a ``Sam``; what has a default has the value of the published models.

    ``image_size`` is the side of the model's square in pixels, ``pixel_mean`` and ``pixel_std`` are
    on the scale 0..255, ``window_size`` 0 means global attention in every block.
    """

    image_size: int
    embed_dim: int
    depth: int
    num_heads: int
    patch_size: int = 16
    mlp_ratio: float = 4.0
    out_chans: int = 256
    window_size: int = 14
    global_attn_indexes: tuple[int, ...] = ()
    use_rel_pos: bool = True
    mask_in_chans: int = 16
    num_multimask_outputs: int = 3
    decoder_depth: int = 2
    decoder_mlp_dim: int = 2048
    decoder_num_heads: int = 8
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256
    pixel_mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, ...] = (58.395, 57.12, 57.375)


def build_sam(config: SamConfig) -> Any:
    """A ``segment_anything.modeling.Sam`` of these sizes, in evaluation mode, weights not set."""
    from segment_anything.modeling import Sam

    sam = Sam(
        image_encoder=_image_encoder(config),
        prompt_encoder=_prompt_encoder(config),
        mask_decoder=_mask_decoder(config),
        pixel_mean=list(config.pixel_mean),
        pixel_std=list(config.pixel_std),
    )
    return sam.eval()


def _image_encoder(config: SamConfig) -> Any:
    from segment_anything.modeling import ImageEncoderViT

    return ImageEncoderViT(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        out_chans=config.out_chans,
        qkv_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=config.use_rel_pos,
        window_size=config.window_size,
        global_attn_indexes=tuple(config.global_attn_indexes),
    )


def _prompt_encoder(config: SamConfig) -> Any:
    from segment_anything.modeling import PromptEncoder

    side = config.image_size // config.patch_size
    return PromptEncoder(
        embed_dim=config.out_chans,
        image_embedding_size=(side, side),
        input_image_size=(config.image_size, config.image_size),
        mask_in_chans=config.mask_in_chans,
    )


def _mask_decoder(config: SamConfig) -> Any:
    from segment_anything.modeling import MaskDecoder, TwoWayTransformer

    transformer = TwoWayTransformer(
        depth=config.decoder_depth,
        embedding_dim=config.out_chans,
        mlp_dim=config.decoder_mlp_dim,
        num_heads=config.decoder_num_heads,
    )
    return MaskDecoder(
        transformer=transformer,
        transformer_dim=config.out_chans,
        num_multimask_outputs=config.num_multimask_outputs,
        iou_head_depth=config.iou_head_depth,
        iou_head_hidden_dim=config.iou_head_hidden_dim,
    )


@dataclass(frozen=True)
class SamSource:
    """Where a SAM comes from, as configured.

    ``checkpoint`` is a folder (or ``zoo:NAME``, or a hub id whose repository holds the two files),
    or a .pth file; ``filename`` names the file inside a hub repository; ``model`` is the published
    size and goes with a file only.
    """

    checkpoint: str
    model: str | None = None
    filename: str | None = None
    revision: str | None = None


def load_sam(source: SamSource) -> Any:
    """Read a SAM onto the CPU in float32, in evaluation mode.

    Raises:
        MissingAsset: the checkpoint is not there, does not fit the sizes, or holds code.
        UsageError: a file was given without its size, or the size is unknown.
    """
    path = Path(_fetch(source))
    with load_errors("segmenter", str(path)):
        if path.is_dir():
            return _load_folder(path)
        return _load_file(path, source.model)


def _fetch(source: SamSource) -> str:
    """The local folder or file, from the hub's cache or the hub where it is a hub id."""
    if source.filename is not None:
        return _fetch_from_hub(source)
    path = expanded(source.checkpoint)
    if source.model in PUBLISHED and path.suffix == ".pth" and not path.exists():
        raise MissingAsset(
            f"The segmenter checkpoint is not found: {path}; next step: `curl --create-dirs -o "
            f"{path} {_PUBLISHED_AT}/{PUBLISHED[source.model]}`."
        )
    local = resolve(source.checkpoint)
    return local if Path(local).exists() else _fetch_from_hub(source)


def _fetch_from_hub(source: SamSource) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    names = (source.filename,) if source.filename else (CONFIG_FILE, WEIGHTS_FILE)
    wanted = f"{source.checkpoint} {' '.join(names)}"
    with load_errors("segmenter", source.checkpoint):
        try:
            paths = [
                hf_hub_download(source.checkpoint, name, revision=source.revision) for name in names
            ]
        except LocalEntryNotFoundError as error:
            words = f"backbone.segmenter.checkpoint={source.checkpoint}"
            raise missing("segmenter", wanted, words) from error
    return paths[0] if source.filename else str(Path(paths[0]).parent)


def _load_folder(folder: Path) -> Any:
    from safetensors.torch import load_file

    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise MissingAsset(
                f"The segmenter folder {folder} has no {name}; next step: set "
                f"backbone.segmenter.checkpoint to a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, "
                f"or to a .pth file."
            )
    values = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    if values.get("kind") == DECODER:
        return _on_base(folder, str(values["sizes"]["base"]))
    config, weights = read_config(values), load_file(folder / WEIGHTS_FILE)
    return _filled(lambda: build_sam(config), weights, (config.pixel_mean, config.pixel_std))


def _on_base(folder: Path, base: str) -> Any:
    """A shipped SAM with the mask decoder of a folder.

    Raises:
        MissingAsset: its base is no shipped one: a folder does not lead to other files.
    """
    if not base.startswith(ZOO_PREFIX):
        raise MissingAsset(
            f"{folder} is a mask decoder for {base}; next step: set backbone.segmenter.checkpoint "
            f"to that and backbone.segmenter.adapter={folder}."
        )
    sam = load_sam(SamSource(base))
    put_decoder(sam, folder)
    return sam


def put_decoder(sam: Any, folder: str | Path) -> None:
    """Give a SAM, as it was read, the mask decoder of an adapter.

    Raises:
        MissingAsset: it is not there or not for this SAM.
    """
    adapter = read_adapter(folder, DECODER, hash_of_weights(sam))
    adapter.fill(sam.mask_decoder, prefix=DECODER_PREFIX)


def read_config(values: Mapping[str, Any]) -> SamConfig:
    """A `SamConfig` from the content of ``config.json``; lists become tuples.

    Raises:
        TypeError: a size is missing or unknown.
    """
    frozen: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return SamConfig(**frozen)


def _load_file(path: Path, model: str | None) -> Any:
    from segment_anything import sam_model_registry

    if model not in PUBLISHED:
        raise UsageError(
            f"The size {model!r} of the segmenter {path} is unknown; set "
            f"backbone.segmenter.model to one of {', '.join(PUBLISHED)}."
        )
    # The registry's own loading would unpickle anything; the weights are read safely instead.
    weights = torch.load(path, map_location="cpu", weights_only=True)
    colours = SamConfig.pixel_mean, SamConfig.pixel_std
    return _filled(lambda: sam_model_registry[model](checkpoint=None), weights, colours)


def _filled(
    make: Callable[[], Any],
    weights: Mapping[str, torch.Tensor],
    colours: tuple[Sequence[float], Sequence[float]],
) -> Any:
    """The model with these weights, as float32; none are drawn to be overwritten.

    Args:
        make: builds it.
        weights: all of them.
        colours: mean and deviation of its pixels, which no checkpoint holds.

    Raises:
        MissingAsset: they are whole numbers, as a quantised checkpoint holds them.
    """
    wrong = next((name for name, t in weights.items() if not t.is_floating_point()), None)
    if wrong is not None:
        raise MissingAsset(
            f"The segmenter checkpoint holds {spelled(weights[wrong].dtype)} as {wrong}: it is "
            "quantised; next step: set backbone.segmenter.checkpoint to one in float32, bfloat16 "
            "or float16."
        )
    with torch.device("meta"):
        sam = make()
    for name, values in zip(("pixel_mean", "pixel_std"), colours, strict=True):
        sam.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
    # Copies: how a checkpoint's numbers are aligned in memory must not decide how they are summed.
    own = {name: tensor.to(torch.float32, copy=True) for name, tensor in weights.items()}
    sam.load_state_dict(own, assign=True)
    return sam.eval()
