"""Pictures in a frame that they do not fill: the library's forward with its pixel mask, the zoo."""

from functools import partial

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from int_bench.backbones.common.loading import resolve
from int_bench.backbones.grounding_dino import network
from int_bench.backbones.grounding_dino.boxes import Selection, select
from int_bench.backbones.grounding_dino.model import GroundingDino
from int_bench.backbones.grounding_dino.pixels import Padding
from int_bench.core.geometry import Grid
from int_bench.core.requests import Detect
from int_bench.core.types import Picture
from int_bench.data.world.scenes import NAMES, boxes, draw
from tests import phantom
from tests.backbones.grounding_dino import tiny_grounding_dino

ZOO = "zoo:grounding_dino"
SIDE = 115  # no multiple of any level's side
SHAPES = {"wide": (40, 80), "tall": (90, 37), "hardly": (60, 64), "full": (70, 70)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Random weights, and pictures in square frames."""
    path = tmp_path_factory.mktemp("padded")
    tiny_grounding_dino.build(path)
    processor = AutoProcessor.from_pretrained(path, backend="pil")
    processor.image_processor.pad_size = {"height": SIDE, "width": SIDE}
    processor.image_processor.size = {"shortest_edge": SIDE, "longest_edge": SIDE}
    processor.save_pretrained(path)
    return str(path)


@pytest.fixture
def source(request, folder):
    return folder if request.param == "tiny" else request.param


def _request(shape, text="frog."):
    image = np.random.default_rng(shape[0]).integers(0, 256, (*shape, 3), np.uint8)
    return Detect(Picture(image), text, 0.0, 0.0)


def _library(source, request_, masked=True):
    """Boxes and logits side by side, (Q, 4 + T), by the library's own forward pass."""
    processor = AutoProcessor.from_pretrained(resolve(source), backend="pil")
    model = AutoModelForZeroShotObjectDetection.from_pretrained(
        resolve(source), dtype=torch.float32
    ).eval()
    image = PIL.Image.fromarray(request_.image.pixels)
    inputs = processor(images=image, text=request_.text, return_tensors="pt")
    if not masked:
        inputs["pixel_mask"] = torch.ones_like(inputs["pixel_mask"])
    with torch.inference_mode():
        outputs = model(**inputs)
    logits = outputs.logits[0, :, : inputs["input_ids"].shape[1]]
    return torch.cat([outputs.pred_boxes[0], logits], dim=1)


def _ours(detector, requests):
    rows = [(*detector._pixels(r), detector._caption(r.text)) for r in requests]
    with torch.inference_mode():
        return detector.in_batches(rows, detector._forward, lambda row: (row[0].shape, row[1]))


@pytest.mark.parametrize("source", ["tiny", ZOO], indirect=True)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_librarys_forward_with_its_pixel_mask(source, shape):
    asked = _request(SHAPES[shape])
    (answer,) = _ours(GroundingDino(source, device="cpu"), [asked])
    expected = _library(source, asked)
    torch.testing.assert_close(answer, expected, atol=1e-5, rtol=1e-5)
    if shape in ("wide", "tall"):
        assert (_library(source, asked, masked=False) - expected).abs().max() > 1e-2


@pytest.mark.parametrize("source", ["tiny", ZOO], indirect=True)
def test_a_batch_has_equal_padding_and_agrees_with_single_calls(source):
    shapes = ["wide", "full", "tall", "wide", "full", "tall"]
    texts = [*3 * ["frog."], *3 * ["owl."]]
    asked = [_request(SHAPES[s], text) for s, text in zip(shapes, texts, strict=True)]
    detector = GroundingDino(source, device="cpu")
    together = _ours(detector, asked)
    assert detector.counters["forward_passes"] == 3
    for row, answer in zip(asked, together, strict=True):
        torch.testing.assert_close(answer, _library(source, row), atol=1e-5, rtol=1e-5)


def test_a_graph_of_one_padding_is_not_replayed_for_another():
    asked = [_request(shape) for shape in ((64, 128), (128, 64), (128, 128))]
    expected = [GroundingDino(ZOO, device="cpu", max_boxes=1).detect([r])[0] for r in asked]
    with phantom.cuda():
        detector = GroundingDino(ZOO, device="cuda", dtype="float32", max_boxes=1)
        for _ in range(2):
            for row, (best,) in zip(asked, expected, strict=True):
                ((found,),) = detector.detect([row])
                assert found.box == pytest.approx(best.box, abs=1e-2)


def test_what_fills_its_frame_has_no_masks(folder):
    detector = GroundingDino(folder, device="cpu")
    _, padding = detector._pixels(_request(SHAPES["full"]))
    assert padding is None
    sizes = ((13, 14), (7, 7), (4, 4), (2, 2))
    make = partial(network.tables, detector.loaded[1], sizes, torch.device("cpu"))
    with torch.inference_mode():
        plain, padded = make(), make(Padding((50, 110), (100, 110)))
    for levels in (plain.encoder, plain.decoder):
        assert levels.spans is levels.widths
    assert plain.padded is plain.visible is None and plain.waves.ndim == 2
    filled = zip(sizes, (7, 4, 2, 1), strict=True)
    shown = torch.cat([(torch.arange(h) < n).repeat_interleave(w) for (h, w), n in filled])
    assert torch.equal(padded.visible.flatten(), shown)
    assert padded.proposals[~shown].isinf().all() and not padded.inside[0, ~shown].any()


def test_boxes_are_of_the_frame_and_clipped_to_the_image():
    asked = Detect(Picture(np.zeros((10, 20, 3), np.uint8)), "frog.", 0.3, 0.25)
    logits = torch.tensor([[-9.0, 1.0, -9.0, -9.0], [-9.0, 2.0, -9.0, -9.0]])
    over, beside = [0.25, 0.5, 0.5, 1.0], [0.5, 0.8, 0.5, 0.4]
    found = select(
        asked, logits, torch.tensor([over, beside]), torch.tensor([101, 200, 1012, 102]),
        Selection(), Padding((64, 128), (128, 128)).around((10, 20)),
    )  # fmt: skip
    assert [detection.box for detection in found] == [(0, 0, 10, 10)]


@pytest.fixture(scope="module")
def halves():
    """Half patches that show all of the animal: the patch, the animal's box and name, the scene."""
    scenes = draw("validation", range(5000, 5024), world=2)
    shown = []
    animals = zip(scenes.images, scenes.masks[:, 0], scenes.names[:, 0], strict=True)
    for image, mask, name in animals:
        for patch in Grid(sets=["halves"]).cut(mask.shape):
            if mask[patch.window].sum() == mask.sum():
                shown.append((patch, boxes(mask[patch.window][None])[0], NAMES[name], image))
    return shown


def _best(detector, image, name):
    return detector.detect([Detect(Picture(image), f"{name}.", 0.0, 0.0)])[0][0].box


def _iou(one, two):
    width, height = (min(one[i + 2], two[i + 2]) - max(one[i], two[i]) for i in (0, 1))
    inner = max(0, width) * max(0, height)
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return inner / (sum(areas) - inner)


def test_boxes_of_half_patches_are_the_truth_and_those_of_the_whole(halves):
    detector = GroundingDino(ZOO, device="cpu", max_boxes=1)
    truth, whole = [], []
    for patch, box, name, image in halves:
        found = _best(detector, np.ascontiguousarray(image[patch.window]), name)
        truth.append(_iou(found, box))
        there = np.add(found, (patch.x0, patch.y0) * 2)
        whole.append(_iou(there, _best(detector, image, name)))
    assert len(truth) >= 12
    assert np.mean(truth) > 0.6
    assert np.mean(whole) > 0.6
