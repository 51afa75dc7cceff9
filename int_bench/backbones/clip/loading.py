"""Loads ``open_clip`` models, tokenizer and preprocessing, from a name, a folder or a hub.

OpenAI's weights need the QuickGELU activation, which open_clip only warns about; here the
activation follows what the weights were trained with, and a contradiction is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from int_bench.backbones.common.loading import load_errors, missing, resolve
from int_bench.backbones.common.lru import Lru
from int_bench.core.types import Image
from int_bench.errors import MissingAsset, UsageError

_CONFIG_FILE = "open_clip_config.json"
_WEIGHT_ENDINGS = (".safetensors", ".bin", ".pth")
_HUB_FILES = ["open_clip*", "*.json", "*.txt", "*.model"]
_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
_KEPT_TEXTS = 4096


@dataclass(frozen=True)
class ClipSource:
    """Where a CLIP comes from, as configured.

    ``checkpoint`` is a folder in open_clip's local-dir format, ``zoo:NAME``, a hub id of such a
    folder, or the name of an architecture; ``pretrained`` goes with an architecture only: a tag of
    open_clip or a file of weights.
    """

    checkpoint: str
    pretrained: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class Clip:
    """A loaded CLIP; ``texts`` keeps text features by (templates, text) for the whole process."""

    model: Any
    tokenizer: Callable[[list[str]], Tensor]
    device: torch.device
    dtype: torch.dtype
    texts: Lru[tuple[tuple[str, ...], str], Tensor] = field(
        default_factory=lambda: Lru(_KEPT_TEXTS)
    )

    @property
    def native_size(self) -> int:
        """Side of the square in pixels that the position embedding was trained for."""
        return int(self.model.visual.image_size[0])

    def square(self, pixels: Image, size: int) -> Tensor:
        """(3, size, size) float32: squashed as the authors do, normalised as the weights want.

        The numbers of open_clip's own transform. Reading: its default crops the centre, which
        would cut off parts of a patch.
        """
        config = self.model.visual.preprocess_cfg
        linear = config["interpolation"] == "bilinear"
        kind = PIL.Image.Resampling.BILINEAR if linear else PIL.Image.Resampling.BICUBIC
        squashed = np.asarray(PIL.Image.fromarray(pixels).resize((size, size), kind))
        planes = torch.from_numpy(squashed.transpose(2, 0, 1).copy()).to(torch.float32)
        mean, std = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
        return planes.div_(255).sub_(mean).div_(std)


def load_clip(source: ClipSource, device: torch.device, dtype: torch.dtype) -> Clip:
    """Read a CLIP and its tokenizer, in evaluation mode, without gradients.

    Raises:
        MissingAsset: the checkpoint is not there, incomplete, or not what the architecture needs.
        UsageError: the name, the tag, or the activation is wrong.
    """
    import open_clip

    name = _open_clip_name(source)
    with load_errors("aligner", source.checkpoint):
        model = open_clip.create_model(
            name,
            source.pretrained if ":" not in name else None,
            precision=_PRECISIONS[dtype],
            device=device,
            force_quick_gelu=_needs_quick_gelu(name, source.pretrained),
            require_pretrained=True,
        )
        tokenizer = open_clip.get_tokenizer(name)
    return Clip(model.eval().requires_grad_(False), tokenizer, device, dtype)


def _open_clip_name(source: ClipSource) -> str:
    """The name for ``open_clip.create_model``: an architecture or ``local-dir:FOLDER``."""
    import open_clip

    name = source.checkpoint.removeprefix("local-dir:")
    if name in open_clip.list_models():
        _check_tag(name, source.pretrained)
        return name
    path = Path(resolve(name))
    if path.exists():
        return f"local-dir:{_complete(path)}"
    if "/" not in name:
        close = get_close_matches(name, open_clip.list_models(), 1)
        hint = f"did you mean {close[0]}?" if close else "see open_clip.list_models()."
        raise UsageError(f"Unknown aligner {name!r}, neither a folder nor an architecture; {hint}")
    return f"local-dir:{_complete(_fetch(name.removeprefix('hf-hub:'), source.revision))}"


def _check_tag(name: str, pretrained: str | None) -> None:
    """See that the weights of an architecture are known and at hand, or fetch them.

    open_clip logs a failed download before it raises; asked directly, it raises only.
    """
    import open_clip
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    if pretrained and Path(pretrained).is_file():
        return
    config = get_pretrained_cfg(name, pretrained) if pretrained else None
    if not config:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none, give a file"
        raise UsageError(
            f"Unknown weights {pretrained!r} for the aligner {name}; set "
            f"backbone.aligner.pretrained to a file or one of: {tags}."
        )
    repository = str(config.get("hf_hub", name)).rstrip("/")
    with load_errors("aligner", repository):
        try:
            download_pretrained(config)
        except OSError as error:
            words = f"backbone.aligner.checkpoint={name} backbone.aligner.pretrained={pretrained}"
            raise missing("aligner", repository, words) from error


def _needs_quick_gelu(name: str, pretrained: str | None) -> bool:
    """Whether a tag's weights want QuickGELU where the architecture's name does not say so.

    Raises:
        UsageError: the architecture has QuickGELU and the tag's weights were trained without.
    """
    from open_clip import get_model_config
    from open_clip.pretrained import get_pretrained_cfg

    config = get_pretrained_cfg(name, pretrained) if pretrained else None
    if not config:
        return False
    wanted = bool(config.get("quick_gelu"))
    if get_model_config(name).get("quick_gelu") and not wanted:
        raise UsageError(
            f"The weights {pretrained!r} were trained without QuickGELU; set "
            f"backbone.aligner.checkpoint={name.removesuffix('-quickgelu')}."
        )
    return wanted


def _fetch(repository: str, revision: str | None) -> Path:
    """The local copy of a hub repository in open_clip's format."""
    from huggingface_hub import snapshot_download

    with load_errors("aligner", repository):
        folder = snapshot_download(repository, revision=revision, allow_patterns=_HUB_FILES)
    return Path(folder)


def _complete(folder: Path) -> Path:
    """The folder, if it has a configuration and weights."""
    if not (folder / _CONFIG_FILE).is_file():
        lack = _CONFIG_FILE
    elif not any(path.suffix in _WEIGHT_ENDINGS for path in folder.iterdir()):
        lack = "open_clip_model.safetensors"
    else:
        return folder
    raise MissingAsset(
        f"The aligner folder {folder} has no {lack}; next step: set backbone.aligner.checkpoint to "
        f"a folder in open_clip's local-dir format or to the name of an architecture."
    )
