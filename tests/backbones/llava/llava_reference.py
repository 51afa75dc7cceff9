"""What the LLaVA tests compare with: transformers' own generate, and forwards without a cache."""

from __future__ import annotations

import numpy as np
import PIL.Image
import torch

from int_bench.backbones.common.square import to_square
from int_bench.backbones.llava.engine import Writer
from int_bench.backbones.llava.model import _mean_colour
from int_bench.core.requests import Turn
from int_bench.core.types import Picture

NAME = "Name of the camouflaged animal in one word."
ENVIRONMENT = "Name of the environment of the camouflaged animal in one word."
BOX = "This image pertains to the camouflaged animal detection task, output the bounding box."
TURNS = (Turn(NAME, "frog"), Turn(ENVIRONMENT, "leaves"))


def pictures(count, seed=0):
    """The first pictures of a fixed sequence, of different sizes."""
    draws = [np.random.default_rng((seed, index)) for index in range(count)]
    sizes = [draw.integers(20, 70, 2) for draw in draws]
    return [
        Picture(draw.integers(0, 256, (*size, 3), dtype=np.uint8))
        for draw, size in zip(draws, sizes, strict=True)
    ]


def inputs(vlm, picture, text):
    """What the library's own processor makes of the padded picture and the rendered chat."""
    ready = vlm.ready
    colour = _mean_colour(ready.processor.image_processor)
    square = PIL.Image.fromarray(to_square(picture.pixels, vlm.preprocess, colour))
    return ready.processor(images=square, text=text, return_tensors="pt")


def rendered(vlm, request):
    return vlm.ready.chat._render(request.history, request.question)


def generated(vlm, request):
    """The token ids of transformers' own greedy generate."""
    given = inputs(vlm, request.image, rendered(vlm, request))
    out = vlm.ready.model.generate(**given, do_sample=False, max_new_tokens=request.max_tokens)
    return out[0, given["input_ids"].shape[1] :].tolist()


def written(vlm, requests):
    """The token ids that the engine writes, all requests in one batch."""
    ready = vlm.ready
    writers = [Writer(r.max_tokens, ready.stop, r.temperature, r.seed) for r in requests]
    with torch.inference_mode():
        paths = ready.engine.prefill([ready.chat.prompt(request) for request in requests])
        return ready.engine.decode(paths, writers)


def plain_scores(vlm, request):
    """Log-probabilities of each name by one full forward pass a name, no cache, no packing."""
    text = rendered(vlm, request)
    start = inputs(vlm, request.image, text)["input_ids"].shape[1]
    scores = []
    for name in request.names:
        given = inputs(vlm, request.image, f"{text} {name}")
        with torch.inference_mode():
            logits = vlm.ready.model(**given).logits[0].float()
        ids = given["input_ids"][0]
        at = range(start, len(ids))
        scores.append([torch.log_softmax(logits[t - 1], -1)[ids[t]].item() for t in at])
    return scores
