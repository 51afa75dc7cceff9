"""SAM 3 against the library's own post-processing, on a tiny random checkpoint."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch

from int_bench.backbones.sam3 import Sam3
from int_bench.core.requests import SegmentConcept
from int_bench.core.types import Picture
from int_bench.errors import MissingAsset
from tests.backbones.sam import tiny_sam3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return str(tiny_sam3.build(tmp_path_factory.mktemp("sam3")))


def requests(threshold):
    draw = np.random.default_rng(5)
    sizes, texts = ((40, 60), (64, 30), (21, 22)), ("frog", "camouflaged animal", "frog")
    return [
        SegmentConcept(Picture(draw.integers(0, 256, (*size, 3), dtype=np.uint8)), text, threshold)
        for size, text in zip(sizes, texts, strict=True)
    ]


def library(model, request):
    """Scores and hard masks as the library's own processor gives them."""
    loaded = model.loaded
    image = PIL.Image.fromarray(request.image.pixels)
    inputs = loaded.processor(images=image, text=request.text, return_tensors="pt")
    with torch.inference_mode():
        output = loaded.model(
            **{key: inputs[key] for key in ("pixel_values", "input_ids", "attention_mask")}
        )
    found = loaded.processor.post_process_instance_segmentation(
        output, threshold=request.threshold, target_sizes=[request.image.size]
    )
    return found[0]["scores"].numpy(), found[0]["masks"].numpy().astype(bool)


def typical_threshold(model):
    """A threshold that some instances of the random model pass and some do not."""
    (found,) = model.segment_concept([requests(0.0)[0]])
    assert len(found) == tiny_sam3.QUERIES
    return (found[2].iou + found[3].iou) / 2


def test_instances_are_those_of_the_library_best_first(checkpoint):
    model = Sam3(checkpoint)
    for request in requests(typical_threshold(model)):
        (found,) = model.segment_concept([request])
        scores, masks = library(model, request)
        order = np.argsort(-scores, kind="stable")
        assert [item.iou for item in found] == pytest.approx(scores[order].tolist(), rel=1e-5)
        for item, mask in zip(found, masks[order], strict=True):
            assert item.logits.shape == request.image.size
            assert ((item.logits > 0) == mask).all()


def test_a_batch_of_sizes_and_phrases_equals_one_by_one(checkpoint):
    model = Sam3(checkpoint, max_batch=2)
    asked = requests(0.0)
    for together, request in zip(model.segment_concept(asked), asked, strict=True):
        (alone,) = Sam3(checkpoint).segment_concept([request])
        for one, other in zip(together, alone, strict=True):
            assert one.iou == pytest.approx(other.iou, rel=1e-4)
            np.testing.assert_allclose(one.logits, other.logits, atol=1e-3)
    assert model.counters["rows"] == 3


def test_above_every_confidence_there_is_nothing(checkpoint):
    assert Sam3(checkpoint).segment_concept([requests(0.999)[0]]) == [()]


def test_one_request_repeats_to_the_bit(checkpoint):
    model, (first, *_) = Sam3(checkpoint), requests(0.0)
    one, two = model.segment_concept([first])[0], model.segment_concept([first])[0]
    assert all((a.logits == b.logits).all() for a, b in zip(one, two, strict=True))


def test_a_missing_or_wrong_checkpoint_is_one_sentence(tmp_path, checkpoint):
    for wrong in (str(tmp_path / "none"), "facebook/sam3-that-is-not-here"):
        with pytest.raises(MissingAsset, match=r"next step"):
            Sam3(wrong).segment_concept(requests(0.5)[:1])
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingAsset, match="concept_segmenter checkpoint is not usable"):
        Sam3(str(tmp_path / "empty")).segment_concept(requests(0.5)[:1])


def test_identity(checkpoint):
    assert Sam3(checkpoint, device="cpu").identity == {
        "class": "Sam3",
        "checkpoint": checkpoint,
        "revision": None,
        "dtype": "float32",
    }
