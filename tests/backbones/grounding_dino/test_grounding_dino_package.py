"""The original package against transformers' model with the same weights, and its own helper.

Skipped where groundingdino-py is not installed (``pip install 'int-bench[groundingdino]'``).
"""

import importlib.util

import numpy as np
import PIL.Image
import pytest
import torch

from int_bench.backbones.grounding_dino.captions import SPECIAL_TOKENS
from int_bench.backbones.grounding_dino.model import GroundingDino
from int_bench.backbones.grounding_dino.package import GroundingDinoPackage
from int_bench.core.requests import Detect
from int_bench.core.types import Picture
from int_bench.errors import MissingAsset, UsageError
from tests.backbones.grounding_dino import tiny_grounding_dino

INSTALLED = importlib.util.find_spec("groundingdino") is not None
needs_package = pytest.mark.skipif(not INSTALLED, reason="groundingdino-py is not installed")


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """The same weights twice: (the package's .pth, BERT's files, transformers' folder)."""
    from transformers import GroundingDinoForObjectDetection

    path = tmp_path_factory.mktemp("grounding_dino_package")
    text, converted, weights = path / "text", path / "transformers", path / "package.pth"
    processor = tiny_grounding_dino.build_processor()
    processor.tokenizer.save_pretrained(text)
    tiny_grounding_dino.text_config().save_pretrained(text)
    package = tiny_grounding_dino.randomise(_detector("", text)._build())
    torch.save({"model": {f"module.{k}": v for k, v in package.state_dict().items()}}, weights)
    config = tiny_grounding_dino.config(
        tiny_grounding_dino.swin_t(), tiny_grounding_dino.PACKAGE_WIDTH
    )
    model = GroundingDinoForObjectDetection(config)
    result = model.load_state_dict(
        tiny_grounding_dino.to_transformers(package.state_dict()), strict=False
    )
    assert not result.unexpected_keys
    assert all("swin.layernorm" in key for key in result.missing_keys)  # unused by either
    model.save_pretrained(converted)
    processor.save_pretrained(converted)
    return weights, text, converted


def _detector(weights, text, **options):
    return GroundingDinoPackage(
        str(weights),
        device="cpu",
        text_encoder=str(text),
        overrides=tiny_grounding_dino.PACKAGE_OVERRIDES,
        **{**tiny_grounding_dino.EDGES, **options},
    )


def _request(height=60, width=80, text="frog.", threshold=0.3):
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    return Detect(Picture(image), text, threshold, 0.25)


REQUESTS = [_request(), _request(80, 60, "Sea horse"), _request(33, 47, "sea horse. owl.")]


def _table(detections):
    return np.array([(*detection.box, detection.score) for detection in detections])


@needs_package
@pytest.mark.parametrize("request_", REQUESTS)
def test_equals_transformers_with_the_same_weights(folders, request_):
    weights, text, converted = folders
    (found,) = _detector(weights, text).detect([request_])
    (expected,) = GroundingDino(str(converted), device="cpu").detect([request_])
    assert len(found) > 2
    assert _table(found) == pytest.approx(_table(expected), abs=2e-3)


@needs_package
@pytest.mark.parametrize("request_", REQUESTS)
def test_equals_the_packages_own_helper(folders, request_):
    from groundingdino.util.inference import predict

    weights, text, _ = folders
    detector = _detector(weights, text, nms=1.0, max_boxes=0)
    (found,) = detector.detect([request_])
    pixels = detector._pixels(request_)[0]
    boxes, scores, phrases = predict(detector.loaded, pixels, request_.text, 0.3, 0.25, "cpu")
    height, width = request_.image.size
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    corners = corners.clamp(0, 1) * torch.tensor([width, height, width, height])
    named = [bool(phrase.strip()) for phrase in phrases]
    table = torch.cat([corners, scores[:, None]], 1)[named].numpy()
    table = table[np.argsort(-table[:, 4], kind="stable")]
    assert len(table) > 2
    assert _table(found) == pytest.approx(table, abs=1e-4)


@needs_package
def test_the_pixels_are_those_of_the_packages_transforms(folders):
    from groundingdino.datasets import transforms

    weights, text, _ = folders
    request = REQUESTS[2]
    reference = transforms.Compose(
        [
            transforms.RandomResize([80], max_size=96),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    expected, _ = reference(PIL.Image.fromarray(request.image.pixels), None)
    assert torch.equal(_detector(weights, text)._pixels(request)[0], expected)


@needs_package
def test_an_answer_repeats_bit_for_bit_in_any_company(folders):
    weights, text, _ = folders
    detector = _detector(weights, text)
    first = [detector.detect([request])[0] for request in REQUESTS]
    assert detector.detect(REQUESTS[::-1]) == first[::-1]
    assert detector.counters["forward_passes"] == detector.counters["images_encoded"] == 6


@needs_package
def test_building_leaves_the_package_as_it_was(folders):
    from groundingdino.models.GroundingDINO import groundingdino as package

    before = package.BertModelWarper, package.get_tokenlizer.get_tokenlizer
    _detector(*folders[:2])._build()
    assert (package.BertModelWarper, package.get_tokenlizer.get_tokenlizer) == before
    assert package.BertModelWarper.__name__ == "BertModelWarper"


@needs_package
def test_the_special_tokens_are_the_ones_that_both_libraries_use(folders):
    assert tuple(_detector(*folders[:2]).loaded.specical_tokens) == SPECIAL_TOKENS


class _Code:
    def __reduce__(self):
        return print, ("code ran",)


@needs_package
def test_a_pickle_with_code_is_refused_and_not_run(folders, tmp_path, capsys):
    evil = tmp_path / "evil.pth"
    torch.save({"model": _Code()}, evil)
    with pytest.raises(MissingAsset, match=r"evil\.pth"):
        _detector(evil, folders[1]).detect([_request()])
    assert "code ran" not in capsys.readouterr().out


@needs_package
def test_weights_of_something_else_are_refused(folders, tmp_path):
    other = tmp_path / "other.pth"
    torch.save({"linear.weight": torch.zeros(2)}, other)
    with pytest.raises(MissingAsset, match="is not a GroundingDINO swin_t"):
        _detector(other, folders[1]).detect([_request()])


@needs_package
def test_an_override_that_does_not_exist(folders):
    weights, text, _ = folders
    detector = GroundingDinoPackage(str(weights), text_encoder=str(text), overrides={"widht": 1})
    with pytest.raises(UsageError, match="widht"):
        detector.detect([_request()])


@needs_package
@pytest.mark.parametrize("checkpoint", ["/no/such/file.pth", "org/no-such-model"])
def test_a_missing_checkpoint_is_named(checkpoint):
    with pytest.raises(MissingAsset, match=checkpoint):
        GroundingDinoPackage(checkpoint, device="cpu").detect([_request()])


@pytest.mark.skipif(INSTALLED, reason="groundingdino-py is installed")
def test_without_the_package_the_sentence_says_how_to_get_it():
    with pytest.raises(UsageError, match=r"int-bench\[groundingdino\]"):
        GroundingDinoPackage("weights.pth", device="cpu").detect([_request()])


def test_constructing_is_free():
    assert GroundingDinoPackage("weights.pth").identity["architecture"] == "swin_t"
