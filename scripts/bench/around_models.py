"""What the models' thread does besides the networks, for ``one_image``.

Runs on this tree or an older one. The backbones are the product's, their networks are replaced by
ones that answer at once; the libraries' processors are the real ones at the published sizes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from one_image import samples  # type: ignore[import-not-found]
from open_clip.transform import PreprocessCfg
from transformers import (
    BertTokenizer,
    CLIPImageProcessor,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
)

from int_bench.backbones.clip import ClipSurgery
from int_bench.backbones.clip.loading import Clip
from int_bench.backbones.grounding_dino import GroundingDino
from int_bench.backbones.llava import Llava
from int_bench.backbones.sam import Sam
from int_bench.backbones.stable_diffusion import StableDiffusion
from int_bench.core.geometry import Grid, crop
from int_bench.core.requests import Answer, Detect, Heatmap, Inpaint, Segment, Similarity
from int_bench.core.types import Picture, Stencil

ITERATIONS = 4
QUERIES = 900


def seconds_of_models() -> float:
    """CPU seconds an image of all backbones together, on the thread that calls the networks."""
    whole = samples(1)[0].image
    patches = [Picture(crop(whole.pixels, patch)) for patch in Grid().cut(whole.size)]
    return sum(work(whole, patches) for work in (_llava, _sam, _dino, _clip, _diffusion))


def _timed(backbone: Any, requests: Sequence[Any], work: Callable[[], Any]) -> float:
    """CPU seconds of this thread, with what another prepares already prepared; the best of two."""
    found = []
    for _ in range(2):
        with ThreadPoolExecutor(1) as pool:
            for request in requests if hasattr(backbone, "prepare") else ():
                backbone.prepare(request, pool.submit)
        started = time.thread_time()
        work()
        found.append(time.thread_time() - started)
    return min(found)


def _llava(whole: Picture, patches: Sequence[Picture]) -> float:
    tokens = SimpleNamespace(pooler_output=[torch.zeros(1, 8)] * len(patches))
    model = SimpleNamespace(
        get_image_features=lambda **_: tokens, parameters=lambda: iter([torch.zeros(1)])
    )
    images = CLIPImageProcessor(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
    )
    loaded = SimpleNamespace(model=model, processor=SimpleNamespace(image_processor=images))
    vlm = Llava("zoo:llava", device="cpu")
    vars(vlm).update(loaded=loaded, ready=loaded)
    asked = [Answer(patch, "") for patch in patches]
    # The patches, and in every iteration the erased ones.
    return (1 + ITERATIONS) * _timed(vlm, asked, lambda: vlm._encode(patches))


def _sam(whole: Picture, patches: Sequence[Picture]) -> float:
    sam = Sam("zoo:sam", device="cpu")
    encoder = SimpleNamespace(img_size=1024)
    vars(sam)["loaded"] = SimpleNamespace(image_encoder=encoder, preprocess=lambda pixels: pixels)
    asked = [Segment(patch, (1, 1, 9, 9)) for patch in patches]

    def pixels(patch: Picture) -> Any:
        if hasattr(sam, "_square"):  # an older tree
            return sam._square(patch)
        return torch.as_tensor(sam._resized.take(patch.digest, lambda: sam._resize_picture(patch)))

    return ITERATIONS * _timed(sam, asked, lambda: [pixels(patch) for patch in patches])


def _dino(whole: Picture, patches: Sequence[Picture]) -> float:
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012}
    filler = {f"[unused{i}]": i for i in range(1030) if i not in special.values()}
    vocabulary = dict(sorted((special | filler).items(), key=lambda item: item[1]))
    edges = {"shortest_edge": 800, "longest_edge": 1333}
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessorPil(size=edges), BertTokenizer(vocab=vocabulary)
    )
    dino = GroundingDino("zoo:grounding_dino", device="cpu")
    draw = torch.Generator().manual_seed(0)
    logits, boxes = torch.full((QUERIES, 256), -9.0), torch.rand(QUERIES, 4, generator=draw)
    logits[:60, 1] = torch.linspace(-2, 2, 60)

    def outputs(rows: Sequence[Any]) -> Any:
        if not hasattr(dino, "_run"):  # an older tree
            return logits.expand(len(rows), -1, -1), boxes.expand(len(rows), -1, -1)
        row = rows[0]  # in an older tree what the processor gave
        tokens = row["input_ids"].shape[1] if isinstance(row, dict) else len(row[-1].ids)
        return [torch.cat([boxes, logits[:, :tokens]], dim=-1)] * len(rows)

    def said(text: str) -> SimpleNamespace:
        ids = torch.tensor(processor.tokenizer(text)["input_ids"])
        return SimpleNamespace(ids=ids, said=ids)

    vars(dino).update(loaded=(processor, None), _forward=outputs, _caption=said)
    asked = [Detect(patch, "frog.") for patch in patches]
    return ITERATIONS * _timed(dino, asked, lambda: dino.detect(asked))


def _clip(whole: Picture, patches: Sequence[Picture]) -> float:
    config = {"mean": (0.481, 0.458, 0.408), "std": (0.269, 0.261, 0.276), "size": (224, 224)}
    visual = SimpleNamespace(
        preprocess_cfg=vars(PreprocessCfg(**config, interpolation="bicubic")),  # type: ignore[arg-type]
        image_size=(224, 224),
    )
    clip = ClipSurgery("zoo:clip", device="cpu")
    model: Any = SimpleNamespace(visual=visual)
    vars(clip)["loaded"] = Clip(model, lambda _: torch.zeros(1), clip.place, clip.precision)
    canvases = []
    for patch in patches:
        pixels = np.zeros_like(whole.pixels)
        pixels[: patch.size[0], : patch.size[1]] = patch.pixels
        canvases.append(Picture(pixels))
    heat, alike = [Heatmap(p, ("frog",)) for p in patches], [Similarity(c, "") for c in canvases]
    first = _timed(clip, heat, lambda: clip._squares(patches, 224))
    return ITERATIONS * (first + _timed(clip, alike, lambda: clip._squares(canvases, 224)))


def _diffusion(whole: Picture, patches: Sequence[Picture]) -> float:
    inpainter = StableDiffusion("zoo:stable_diffusion", device="cpu", size=512)
    vae = SimpleNamespace(encoder=torch.nn.Identity(), decoder=torch.nn.Identity())
    pipeline = SimpleNamespace(vae=vae, unet=torch.nn.Identity(), vae_scale_factor=8)
    filled: Any = np.random.default_rng(0).random((1, 512, 512, 3)).astype(np.float32)
    if "uint8" in str(StableDiffusion._generate.__annotations__["return"]):
        filled = np.uint8(255 * filled)
    vars(inpainter).update(loaded=pipeline, _generate=lambda *_: filled)
    hole = np.zeros(whole.size, dtype=np.bool_)
    hole[200:560, 240:720] = True
    asked = [Inpaint(whole, Stencil(hole), "leaves", "frog", 1)]
    return ITERATIONS * _timed(inpainter, asked, lambda: inpainter.inpaint(asked))
