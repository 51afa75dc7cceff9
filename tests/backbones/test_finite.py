"""No number that is not finite leaves a backbone; weights are spoilt in copies of tiny models."""

from __future__ import annotations

import copy
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from int_bench.backbones.clip.surgery import ClipSurgery
from int_bench.backbones.common.loading import zoo_folder
from int_bench.backbones.grounding_dino.model import GroundingDino
from int_bench.backbones.llava.model import Llava
from int_bench.backbones.sam.model import Sam
from int_bench.backbones.sam3 import Sam3
from int_bench.backbones.stable_diffusion.model import StableDiffusion
from int_bench.core.requests import (
    Answer,
    ContrastiveAnswer,
    Detect,
    FirstToken,
    Heatmap,
    Inpaint,
    Score,
    Segment,
    SegmentConcept,
    Similarity,
)
from int_bench.core.types import Picture, Stencil
from int_bench.errors import SampleError
from tests.backbones.sam import tiny_sam3

PICTURE = Picture(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
HOLE = np.zeros((60, 80), bool)
HOLE[20:40, 30:60] = True
ERASE = Inpaint(PICTURE, Stencil(HOLE), "leaves", "frog", 0)
FIND = Segment(PICTURE, (10.0, 10.0, 50.0, 40.0))


def alone(backbone):
    """A backbone whose weights may be spoilt: they are a copy."""
    backbone.loaded = copy.deepcopy(backbone.loaded)
    return backbone


def spoil(module, value=math.nan):
    with torch.no_grad():
        for parameter in module.parameters() if isinstance(module, torch.nn.Module) else [module]:
            parameter.fill_(value)


def refused(backbone, verb, request, words):
    """The sentence that every call of a verb ends with."""
    for _ in range(2):  # nothing of the first is kept for the second
        with pytest.raises(SampleError, match=words) as told:
            getattr(backbone, verb)([request])
        assert backbone.checkpoint in str(told.value)
    assert "float32; next step: fetch the checkpoint again" in str(told.value)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (lambda sam: sam.mask_decoder.output_upscaling[0], "computed mask logits"),
        (lambda sam: sam.mask_decoder.iou_prediction_head, "computed predicted IoUs"),
        (lambda sam: sam.image_encoder.neck, "computed picture embeddings"),
    ],
)
def test_the_segmenter(part, words):
    sam = alone(Sam("zoo:sam", device="cpu"))
    before = copy.deepcopy(part(sam.loaded).state_dict())
    spoil(part(sam.loaded))
    refused(sam, "segment", FIND, words)
    part(sam.loaded).load_state_dict(before)
    (mended,) = sam.segment([FIND])
    (expected,) = Sam("zoo:sam", device="cpu").segment([FIND])
    assert np.array_equal(mended.logits, expected.logits)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (lambda pipeline: pipeline.vae.decoder.conv_out, "decodings of the VAE"),
        (lambda pipeline: pipeline.vae.encoder.conv_in, "encodings of the VAE"),
        (lambda pipeline: pipeline.unet.conv_out, "outputs of the UNet"),
        (lambda pipeline: pipeline.text_encoder, "text embeddings"),
    ],
)
def test_the_inpainter(part, words):
    inpainter = alone(StableDiffusion("zoo:stable_diffusion", device="cpu", steps=1, size=64))
    spoil(part(inpainter.loaded))
    refused(inpainter, "inpaint", ERASE, words)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_overflows_in_float16_alone_is_found_in_the_decoder(dtype):
    """One large layer; what follows brings its numbers back to their size."""
    options = {"device": "cpu", "steps": 1, "size": 64}
    inpainter = alone(StableDiffusion("zoo:stable_diffusion", dtype=dtype, **options))
    with torch.no_grad():
        weight = inpainter.loaded.vae.decoder.conv_in.weight
        weight.mul_(6e4 / weight.abs().max())
    if dtype != "float16":
        (filled,) = inpainter.inpaint([ERASE])
        assert filled[HOLE].std() > 0
        return
    told = r"decodings of the VAE .* in float16; next step: .*inpainter\.dtype to bfloat16"
    with pytest.raises(SampleError, match=told):
        inpainter.inpaint([ERASE])


@pytest.mark.parametrize(
    ("verb", "request_"),
    [
        ("answer", Answer(PICTURE, "Name the animal.", max_tokens=3)),
        ("answer", Answer(PICTURE, "Name the animal.", max_tokens=3, temperature=1.0)),
        ("contrast", ContrastiveAnswer(PICTURE, None, "Name the animal.", max_tokens=3)),
        ("score", Score(PICTURE, "Name the animal.", ("frog", "stick insect"))),
        ("first_token", FirstToken(PICTURE, "Name the animal.")),
    ],
)
def test_the_language_model(verb, request_):
    vlm = alone(Llava("zoo:llava", device="cpu"))
    spoil(vlm.loaded.model.lm_head)
    refused(vlm, verb, request_, "computed logits")


def test_its_eyes():
    vlm = alone(Llava("zoo:llava", device="cpu"))
    spoil(vlm.loaded.model.model.multi_modal_projector)
    refused(vlm, "first_token", FirstToken(PICTURE, "Name the animal."), "computed image tokens")


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (lambda model: model.bbox_embed[-1], "computed boxes"),
        (lambda model: model.model.text_projection, "computed class logits"),
    ],
)
def test_the_detector(part, words):
    detector = alone(GroundingDino("zoo:grounding_dino", device="cpu"))
    spoil(part(detector.loaded[1]))
    refused(detector, "detect", Detect(PICTURE, "frog", 0.3, 0.25), words)


@pytest.mark.parametrize(
    ("verb", "request_", "words"),
    [
        ("heatmap", Heatmap(PICTURE, ("frog",)), "computed token features"),
        ("similarity", Similarity(PICTURE, "frog"), "computed picture features"),
    ],
)
def test_the_aligner(verb, request_, words):
    aligner = alone(ClipSurgery("zoo:clip", device="cpu", blocks=2))
    spoil(aligner.loaded.model.visual.proj)
    refused(aligner, verb, request_, words)
    seeing = alone(ClipSurgery("zoo:clip", device="cpu", blocks=2))
    spoil(seeing.loaded.model.text_projection)
    refused(seeing, verb, request_, "computed text features")


def test_the_concept_segmenter(tmp_path):
    model = alone(Sam3(str(tiny_sam3.build(tmp_path)), device="cpu"))
    spoil(model.loaded.model.mask_decoder)
    request = SegmentConcept(PICTURE, "frog", 0.0)
    refused(model, "segment_concept", request, "computed mask logits")


def test_a_run_with_such_a_model_ends_incomplete_and_says_why(command, pairs, tmp_path):
    folder = shutil.copytree(zoo_folder("sam"), tmp_path / "spoilt")
    weights = load_file(folder / "model.safetensors")
    spoil(weights["mask_decoder.output_upscaling.0.weight"])
    save_file(weights, folder / "model.safetensors")
    words = ["dataset=folder", f"dataset.images={pairs}/images", f"dataset.masks={pairs}/masks"]
    spoilt = ["method=oracle_box_sam", f"backbone.segmenter.checkpoint={folder}"]
    code, out, err = command("run", *words, *spoilt, "--limit", "1")
    assert code == 4 and "Traceback" not in err
    assert f"The segmenter {folder} computed mask logits that are NaN or infinite" in out + err
