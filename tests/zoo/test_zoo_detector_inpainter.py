"""The zoo's GroundingDINO and Stable Diffusion: ordinary loading, known answers, batch invariance.

The scenes are fixed ones of the validation split; the bounds are far below what is measured on
hundreds of scenes (see the zoo's card): they fail for a broken checkpoint and not by chance.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

import int_bench
from int_bench.core.templates import DETECT, INPAINT_NEGATIVE, INPAINT_POSITIVE
from int_bench.data.world.scenes import ENVIRONMENTS, NAMES, Scenes, boxes, draw

ZOO = Path(int_bench.__file__).parent / "zoo"
CLS, SEP, STOP, UNKNOWN = 101, 102, 1012, 100


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    """Sixteen scenes with one animal each."""
    return draw("validation", range(5000, 5016), world=2)


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(ZOO / "grounding_dino")


@pytest.fixture(scope="module")
def detector() -> Any:
    model = AutoModelForZeroShotObjectDetection.from_pretrained(ZOO / "grounding_dino")
    return model.float().eval()


@pytest.fixture(scope="module")
def inpainter() -> Any:
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(
        ZOO / "stable_diffusion", torch_dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def detect(
    detector: Any, processor: Any, images: list[Image.Image], names: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Best box (N, 4) as x0, y0, x1, y1 in fractions of the padded square, and its score (N,)."""
    texts = [DETECT.format(name=name) for name in names]
    inputs = processor(images=images, text=texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        out = detector(**inputs)
    score, query = out.logits.sigmoid().amax(-1).max(1)
    best = out.pred_boxes[torch.arange(len(query)), query]
    return torch.cat([best[:, :2] - best[:, 2:] / 2, best[:, :2] + best[:, 2:] / 2], 1), score


def iou(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    """IoU of (N, 4) corner boxes, row by row."""
    inner = torch.minimum(one[:, 2:], two[:, 2:]) - torch.maximum(one[:, :2], two[:, :2])
    both = inner.clamp(min=0).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (one, two)]
    return both / (areas[0] + areas[1] - both)


def test_detector_reads_words_as_the_class_expects(processor: Any) -> None:
    frog, owl = (processor.tokenizer(DETECT.format(name=n))["input_ids"] for n in ("frog", "owl"))
    assert frog[0] == CLS and frog[2:] == [STOP, SEP]
    assert frog[1] != owl[1]
    phrase = processor.tokenizer("Camouflaged animal.")["input_ids"]
    assert len(phrase) == 5 and UNKNOWN not in phrase
    assert processor.tokenizer("zebra.")["input_ids"] == [CLS, UNKNOWN, STOP, SEP]


def test_detector_pads_every_patch_to_one_size(processor: Any) -> None:
    half = Image.new("RGB", (64, 128), (122, 117, 104))
    inputs = processor(images=[half], text=["frog."], return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 128, 128)
    assert inputs["pixel_mask"][0].sum() == 64 * 128


def test_detector_finds_the_named_animal(detector: Any, processor: Any, scenes: Scenes) -> None:
    images = [Image.fromarray(image) for image in scenes.images]
    right = [NAMES[name] for name in scenes.names[:, 0]]
    wrong = [NAMES[(name + 3) % 8] for name in scenes.names[:, 0]]
    found, score = detect(detector, processor, images, right)
    _, other = detect(detector, processor, images, wrong)
    truth = torch.from_numpy(boxes(scenes.masks[:, 0])) / 128
    assert (iou(found, truth) > 0.5).float().mean() >= 0.6
    assert (score > other).float().mean() >= 0.6
    assert score.mean() > other.mean() + 0.1


def test_detector_answers_alike_in_any_batch(detector: Any, processor: Any, scenes: Scenes) -> None:
    images = [Image.fromarray(image) for image in scenes.images[:3]]
    images.append(images[0].crop((0, 0, 64, 128)))
    names = ["frog", "skin lesion", "owl", "crab"]
    together = detect(detector, processor, images, names)
    for row in range(4):
        alone = detect(detector, processor, [images[row]], [names[row]])
        torch.testing.assert_close(alone[0][0], together[0][row], atol=1e-4, rtol=0)
        torch.testing.assert_close(alone[1][0], together[1][row], atol=1e-4, rtol=0)


def fill(pipeline: Any, scenes: Scenes, rows: list[int]) -> np.ndarray:
    """Fill the dilated true masks of some scenes; (N, 128, 128, 3) float32 in 0..1."""
    kernel = np.ones((9, 9), np.uint8)
    holes = [cv2.dilate(scenes.masks[row, 0].astype(np.uint8), kernel) * 255 for row in rows]
    environments = [ENVIRONMENTS[scenes.environments[row]] for row in rows]
    made = pipeline(
        prompt=[INPAINT_POSITIVE.format(environment=name) for name in environments],
        negative_prompt=[INPAINT_NEGATIVE.format(name="frog", task="camouflaged animal")]
        * len(rows),
        image=[Image.fromarray(scenes.images[row]) for row in rows],
        mask_image=[Image.fromarray(hole) for hole in holes],
        num_inference_steps=3,
        guidance_scale=1.5,
        height=128,
        width=128,
        generator=[torch.Generator().manual_seed(row) for row in rows],
        output_type="np",
    )
    return np.asarray(made.images)


def test_inpainter_is_of_the_kind_the_pipeline_wants(inpainter: Any) -> None:
    assert inpainter.unet.config.in_channels == 9
    assert inpainter.vae.config.latent_channels == 4
    assert inpainter.safety_checker is None


def test_inpainter_knows_the_words_and_survives_others(inpainter: Any) -> None:
    for word in (*NAMES[:10], *ENVIRONMENTS):
        assert len(inpainter.tokenizer(word)["input_ids"]) == 3
    embeds, _ = inpainter.encode_prompt("ein Zebra, 100 % getarnt \u2603", "cpu", 1, False)
    assert torch.isfinite(embeds).all()


def test_inpainter_fills_with_the_environment(inpainter: Any, scenes: Scenes) -> None:
    rows = list(range(8))
    made, clean = fill(inpainter, scenes, rows), scenes.clean[rows] / 255.0
    inside = scenes.masks[rows, 0][..., None]
    area = inside.sum((1, 2))
    colour = np.abs(((made - clean) * inside).sum((1, 2)) / area).mean() * 255
    before = scenes.images[rows] / 255.0
    there = np.abs(((before - clean) * inside).sum((1, 2)) / area).mean() * 255
    assert colour <= 10
    assert colour < there


def test_inpainter_fills_alike_in_any_batch(inpainter: Any, scenes: Scenes) -> None:
    together = fill(inpainter, scenes, [0, 1, 2])
    np.testing.assert_allclose(fill(inpainter, scenes, [1])[0], together[1], atol=1e-3)
