"""The detector against the library's own helper, on random weights, and its selection by hand."""

import shutil
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import (
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    RTDetrResNetConfig,
)
from transformers.models.grounding_dino.modeling_grounding_dino import (
    generate_masks_with_special_tokens_and_transfer_map,
)

from int_bench.backbones.grounding_dino import captions
from int_bench.backbones.grounding_dino.boxes import Selection, caption, image_for_detection, select
from int_bench.backbones.grounding_dino.finishing import finished
from int_bench.backbones.grounding_dino.model import GroundingDino
from int_bench.backbones.grounding_dino.pixels import pixels_of
from int_bench.core.requests import Detect
from int_bench.core.types import Picture
from int_bench.errors import MissingAsset
from tests.backbones.grounding_dino import tiny_grounding_dino

ALL = {"nms": 1.0, "max_boxes": 0, "device": "cpu"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("grounding_dino")
    tiny_grounding_dino.build(path)
    return str(path)


def _request(height=60, width=80, text="frog.", threshold=0.3):
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    return Detect(Picture(image), text, threshold, 0.25)


REQUESTS = [
    _request(),
    _request(text="camouflaged animal."),
    _request(80, 60),
    _request(60, 80, text="owl."),
    _request(33, 47, text="sea horse."),
    _request(200, 300, text="sea horse. owl."),
]


def _table(detections):
    rows = [(*detection.box, detection.score) for detection in detections]
    return np.array(rows, np.float64).reshape(-1, 5)


@pytest.fixture(scope="session")
def library(folder):
    """The library's own processor and model."""
    processor = AutoProcessor.from_pretrained(folder, backend="pil")
    return processor, AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()


@pytest.mark.parametrize("request_", REQUESTS)
def test_equals_the_librarys_helper(folder, library, request_):
    (found,) = GroundingDino(folder, **ALL).detect([request_])
    processor, model = library
    height, width = request_.image.size
    inputs = processor(
        images=PIL.Image.fromarray(request_.image.pixels), text=request_.text, return_tensors="pt"
    )
    with torch.no_grad():
        outputs = model(**inputs)
    (expected,) = processor.post_process_grounded_object_detection(
        outputs, threshold=0.3, text_threshold=0.25, target_sizes=[(height, width)]
    )
    boxes = expected["boxes"].numpy().astype(np.float64)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    # The library's phrases are empty where only special tokens are above the threshold.
    named = [bool(set(label.split()) - {".", "[SEP]"}) for label in expected["text_labels"]]
    order = np.argsort(-expected["scores"].numpy(), kind="stable")
    order = order[np.array(named)[order]]
    table = np.column_stack([boxes, expected["scores"].numpy()])[order]
    assert 3 < len(table) < tiny_grounding_dino.QUERIES + 1
    assert _table(found) == pytest.approx(table, abs=1e-3, rel=1e-5)


def test_alone_an_answer_repeats_bit_for_bit_whatever_came_between(folder):
    detector = GroundingDino(folder, device="cpu")
    first = [detector.detect([request])[0] for request in REQUESTS]
    detector.detect(REQUESTS)
    again = [detector.detect([request])[0] for request in reversed(REQUESTS)]
    assert first == again[::-1]
    fresh = GroundingDino(folder, device="cpu")
    assert fresh.detect([REQUESTS[4]])[0] == first[4]


@pytest.mark.parametrize("max_batch", [2, 16])
def test_a_batch_agrees_with_single_calls(folder, max_batch):
    alone = GroundingDino(folder, **ALL, max_batch=1).detect(REQUESTS)
    together = GroundingDino(folder, **ALL, max_batch=max_batch).detect(REQUESTS[::-1])
    for a, b in zip(alone, reversed(together), strict=True):
        assert len(a) > 3
        assert _table(b) == pytest.approx(_table(a), abs=2e-3)


def test_only_equal_shapes_share_a_forward_pass(folder):
    detector = GroundingDino(folder, device="cpu")
    detector.detect(REQUESTS)
    assert detector.counters["images_encoded"] == 6
    # 60x80 "frog." and "owl."; "camouflaged animal."; 80x60; 33x47; 200x300
    assert detector.counters["forward_passes"] == 5
    captions = 4 + 5 + 4 + 5 + 7  # each is read once
    assert detector.counters["text_tokens"] == captions
    detector.detect(REQUESTS)
    assert detector.counters["text_tokens"] == captions
    detector.forget()
    detector.detect(REQUESTS)
    assert detector.counters["text_tokens"] == 2 * captions


def test_the_text_matters_and_its_case_does_not(folder):
    detector = GroundingDino(folder, device="cpu")
    texts = ["frog.", "Frog", " FROG. ", "owl."]
    frog, *others, owl = detector.detect([_request(text=text) for text in texts])
    assert others == [frog, frog]
    assert owl != frog


def test_the_tokens_of_a_phrase_are_placed_as_in_the_original(folder):
    detector = GroundingDino(folder, device="cpu")
    processor, model = detector.loaded
    bert = []
    hook = model.model.text_backbone.register_forward_pre_hook(lambda _, given: bert.append(given))
    ids = processor.tokenizer("sea horse. owl.")["input_ids"]
    with torch.inference_mode():
        known = captions.read(model, ids, torch.device("cpu"))
    hook.remove()
    _, mask, _, positions = bert[0]
    assert positions.tolist() == [[0, 0, 1, 2, 0, 1, 0]]  # [CLS] sea horse . owl . [SEP]
    blocks = torch.block_diag(*(torch.ones(n, n) for n in (1, 3, 2, 1))).bool()
    assert torch.equal(mask[0, 0], blocks)
    assert torch.equal(known.hidden[:-1], torch.zeros(7, 7).masked_fill(~blocks, -torch.inf))
    assert not known.hidden[-1].any()
    channel = torch.arange(tiny_grounding_dino.WIDTH)
    period = 10000 ** (2 * (channel // 2) / tiny_grounding_dino.WIDTH)
    angle = positions[0, :, None] * 2 * torch.pi / period
    expected = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
    assert torch.allclose(known.said[1], expected, atol=1e-5)


@pytest.mark.parametrize(
    "ids", [[101, 7, 8, 1012, 9, 1012, 102], [101, 102], [101, 7, 102], [101, 1012, 7, 1029, 102]]
)
def test_phrases_are_those_of_the_library(ids):
    sees, _ = generate_masks_with_special_tokens_and_transfer_map(
        torch.tensor([ids]), torch.tensor(captions.SPECIAL_TOKENS)
    )
    assert torch.equal(captions.phrases(ids), sees[0])


def test_what_fills_a_caption_up_sees_but_itself_and_is_not_seen():
    draws = torch.randn(2, 2, 3)
    known = captions.Caption(torch.tensor([101, 102]), draws, torch.zeros(3, 2))
    filled = captions.filled(known, 4)
    assert filled.ids is known.ids
    assert torch.equal(filled.said[:, :2], draws) and not filled.said[:, 2:].any()
    assert (filled.hidden == 0).int().tolist() == [
        [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0],
    ]  # fmt: skip


@pytest.mark.parametrize("layer_type", ["basic", "bottleneck"])
def test_a_resnets_batch_norms_are_folded(layer_type):
    resnet = RTDetrResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32], depths=[2, 2], layer_type=layer_type,
        out_features=["stage1", "stage2"],
    )  # fmt: skip
    config = tiny_grounding_dino.config(resnet, tiny_grounding_dino.WIDTH)
    model = tiny_grounding_dino.randomise(GroundingDinoForObjectDetection(config))
    draws = torch.Generator().manual_seed(0)
    for name, values in model.named_buffers():
        if "normalization" in name:
            values.copy_(torch.rand(values.shape, generator=draws) + 0.5)
    eyes, pixels = model.model.backbone.conv_encoder.model, torch.randn(2, 3, 33, 47)
    with torch.no_grad():
        expected = eyes(pixels).feature_maps
        answers = finished(model).model.backbone.conv_encoder.model(pixels).feature_maps
    assert not any("FrozenBatchNorm" in type(module).__name__ for module in model.modules())
    assert eyes.encoder.stages[1].layers[0].shortcut[1].convolution.bias.any()
    for answer, value in zip(answers, expected, strict=True):
        torch.testing.assert_close(answer, value, atol=1e-4, rtol=1e-4)


def test_a_model_with_fixed_boxes_is_refused():
    config = tiny_grounding_dino.config(tiny_grounding_dino.swin_t(), tiny_grounding_dino.WIDTH)
    config.two_stage = False
    with pytest.raises(ValueError, match="fixed boxes"):
        finished(SimpleNamespace(config=config))


SPACE = {"pad_size": {"height": 100, "width": 110}}
SETTINGS = [{}, SPACE, {"do_normalize": False}, SPACE | {"do_normalize": False}]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("size", [(60, 80), (33, 47), (200, 90)])
def test_pixels_are_those_of_the_librarys_processor(settings, size):
    processor = GroundingDinoImageProcessorPil(size=tiny_grounding_dino.EDGES, **settings)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    image = PIL.Image.fromarray(pixels)
    expected = processor(images=image, return_tensors="pt")
    answer, padding = pixels_of(image, processor)
    torch.testing.assert_close(answer, expected["pixel_values"], atol=2e-6, rtol=1e-6)
    high, wide = padding.picture if padding else answer.shape[2:]
    mask = torch.zeros_like(expected["pixel_mask"])
    mask[:, :high, :wide] = 1
    assert torch.equal(mask, expected["pixel_mask"])
    assert (padding is None) == bool(mask.all())
    assert answer.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(3, 1000), (1000, 2), (1, 1), (1, 40), (5, 4)])
def test_boxes_lie_inside_images_of_any_shape(folder, shape):
    (found,) = GroundingDino(folder, **ALL).detect([_request(*shape, threshold=0.0)])
    assert found
    height, width = shape
    for detection in found:
        x0, y0, x1, y1 = detection.box
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert 0 <= detection.score <= 1


def test_defaults_give_at_most_ten_boxes_best_first(folder):
    (found,) = GroundingDino(folder, device="cpu").detect([_request(threshold=0.0)])
    scores = [detection.score for detection in found]
    assert 0 < len(found) <= 10
    assert scores == sorted(scores, reverse=True)


def _logits(*probabilities):
    """Logits of 4 tokens ([CLS], a word, a word, full stop), padded to 6 with minus infinity."""
    rows = torch.logit(torch.tensor(probabilities, dtype=torch.float64)).float()
    return torch.cat([rows, torch.full((len(rows), 2), -torch.inf)], dim=1)


TOKENS = torch.tensor([101, 201, 202, 1012])
LEFT, RIGHT = [0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]


def _select(logits, boxes, box=0.3, text=0.25, **options):
    request = Detect(Picture(np.zeros((10, 20, 3), np.uint8)), "sea horse.", box, text)
    return select(request, logits, torch.tensor(boxes), TOKENS, Selection(**options))


def test_score_is_the_best_token_and_boxes_are_in_pixels():
    found = _select(_logits([0.1, 0.4, 0.6, 0.2], [0.1, 0.8, 0.1, 0.2]), [LEFT, RIGHT])
    assert [detection.box for detection in found] == [(10, 0, 20, 10), (0, 0, 10, 10)]
    assert [detection.score for detection in found] == pytest.approx([0.8, 0.6])


def test_the_box_threshold():
    logits = _logits([0.1, 0.29, 0.1, 0.1], [0.1, 0.31, 0.1, 0.1])
    assert [detection.box[0] for detection in _select(logits, [LEFT, RIGHT])] == [10]
    assert len(_select(logits, [LEFT, RIGHT], box=0.2)) == 2


def test_the_text_threshold_asks_for_a_word_not_a_full_stop():
    logits = _logits([0.1, 0.2, 0.1, 0.9], [0.9, 0.3, 0.1, 0.1])
    assert [detection.box[0] for detection in _select(logits, [LEFT, RIGHT])] == [10]
    assert len(_select(logits, [LEFT, RIGHT], text=0.15)) == 2
    assert len(_select(logits, [LEFT, RIGHT], text=0.35)) == 0


def test_suppression_clipping_and_the_largest_number():
    near = [0.28, 0.5, 0.5, 1.0]  # IoU with LEFT: 9.4 / 10.6 of the width = 0.887
    logits = _logits(*([0.1, p, 0.1, 0.1] for p in (0.7, 0.8, 0.9)))
    assert len(_select(logits, [LEFT, near, RIGHT])) == 2
    assert len(_select(logits, [LEFT, near, RIGHT], nms=0.9)) == 3
    assert [d.box[0] for d in _select(logits, [LEFT, near, RIGHT], max_boxes=1)] == [10]
    (over,) = _select(logits[:1], [[0.0, 0.0, 1.0, 1.0]])
    assert over.box == (0, 0, 10, 5)
    assert _select(logits[:1], [[1.2, 0.5, 0.2, 0.2]]) == ()  # outside of the image


def test_nothing_found_is_an_empty_answer():
    assert _select(_logits([0.1, 0.1, 0.1, 0.1]), [LEFT]) == ()


def test_captions_and_thin_images():
    assert caption("Sea Horse") == caption("sea horse. ") == "sea horse."
    image = np.zeros((3, 1000, 3), np.uint8)
    assert image_for_detection(image).size == (1000, 125)
    assert image_for_detection(image[:, :24]).size == (24, 3)


def test_constructing_is_free():
    assert GroundingDino("org/name", max_boxes=3).identity["max_boxes"] == 3


def _cut(path):
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def _pickle(path):
    (path / "model.safetensors").unlink()
    torch.save({"level_embed": torch.zeros(1)}, path / "pytorch_model.bin")


def _no_processor(path):
    for file in path.glob("*"):
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()


@pytest.mark.parametrize("damage", [_cut, _pickle, _no_processor])
def test_an_unusable_folder_is_one_sentence(folder, tmp_path, damage):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    damage(broken)
    with pytest.raises(MissingAsset) as caught:
        GroundingDino(str(broken), device="cpu").detect([_request()])
    assert str(broken) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("checkpoint", ["org/no-such-model", "zoo:none", "/no/such/folder"])
def test_a_missing_checkpoint_is_named(checkpoint):
    with pytest.raises(MissingAsset, match=checkpoint.removeprefix("zoo:")):
        GroundingDino(checkpoint, device="cpu").detect([_request()])
