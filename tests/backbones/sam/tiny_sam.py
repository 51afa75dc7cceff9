"""A random Segment Anything of 64 x 64 pixels, in the folder format of the segmenter backbone."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from int_bench.backbones.sam.loading import SamConfig, build_sam
from int_bench.core.types import Picture

BOX = (10.5, 6.0, 61.0, 40.25)

TINY = SamConfig(
    image_size=64,
    embed_dim=32,
    depth=2,
    num_heads=2,
    out_chans=32,
    window_size=3,
    global_attn_indexes=(1,),
    decoder_mlp_dim=64,
    decoder_num_heads=2,
    iou_head_hidden_dim=32,
)
LARGER_WINDOWLESS = replace(TINY, image_size=96, window_size=0, use_rel_pos=False)


def randomise(module, seed=0):
    """Every parameter and buffer that is saved, so that none is zero and parity means something."""
    generator = torch.Generator().manual_seed(seed)
    state = module.state_dict()
    for name, tensor in state.items():
        noise = torch.randn(tensor.shape, generator=generator)
        gain = 1.0 if tensor.ndim == 1 and name.endswith("weight") else 0.0
        state[name] = gain + 0.25 * noise
    module.load_state_dict(state)
    return module


def write_tiny_sam(folder: Path, config: SamConfig = TINY, seed: int = 0) -> Path:
    """config.json and model.safetensors of a random model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(config)))
    save_file(randomise(build_sam(config), seed).state_dict(), folder / "model.safetensors")
    return folder


def picture(height, width, seed=0):
    generator = np.random.default_rng(seed)
    return Picture(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
