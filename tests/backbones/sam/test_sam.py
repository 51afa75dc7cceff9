"""The segmenter against segment_anything's own predictor and transformers' SamModel."""

import json
import re

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling.image_encoder import Attention

from int_bench.backbones.common.loading import forget_loaded
from int_bench.backbones.sam import attention
from int_bench.backbones.sam.attention import fuse_attention
from int_bench.backbones.sam.decoding import decode_masks
from int_bench.backbones.sam.loading import SamSource, build_sam, load_sam
from int_bench.backbones.sam.model import Sam
from int_bench.core.requests import Point, Segment
from int_bench.errors import MissingAsset, SampleError, UsageError
from tests.backbones.sam.tiny_sam import (
    BOX,
    LARGER_WINDOWLESS,
    TINY,
    picture,
    randomise,
    write_tiny_sam,
)

POINTS = (Point(30.5, 20.5, True), Point(4.5, 44.5, False), Point(50.0, 12.0, True))
PROMPTS = {"box": (BOX, ()), "points": (None, POINTS), "both": (BOX, POINTS)}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return str(write_tiny_sam(tmp_path_factory.mktemp("sam")))


@pytest.fixture
def sam(folder):
    return Sam(folder, device="cpu")


def predictor_answer(model, request):
    """Logits (H, W) and IoU of ``SamPredictor``, the library's own inference."""
    predictor = SamPredictor(model)
    predictor.set_image(request.image.pixels)
    masks, ious, _ = predictor.predict(
        point_coords=np.array([(p.x, p.y) for p in request.points]) if request.points else None,
        point_labels=np.array([int(p.positive) for p in request.points]),
        box=None if request.box is None else np.array(request.box),
        multimask_output=request.multimask,
        return_logits=True,
    )
    return masks[ious.argmax()], ious.max()


@pytest.mark.parametrize("config", [TINY, LARGER_WINDOWLESS], ids=["windows", "global"])
@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("size", [(48, 70), (200, 90), (64, 64)])
def test_equals_the_librarys_predictor(tmp_path, config, multimask, kind, size):
    sam = Sam(str(write_tiny_sam(tmp_path, config)), device="cpu")
    box, points = PROMPTS[kind]
    request = Segment(picture(*size), box, points, multimask)
    (answer,) = sam.segment([request])
    logits, iou = predictor_answer(load_sam(SamSource(str(tmp_path))), request)
    assert answer.logits.shape == size
    assert answer.logits.dtype == np.float32
    assert np.abs(logits).max() > 0.5
    np.testing.assert_allclose(answer.logits, logits, atol=2e-5)
    assert answer.iou == pytest.approx(min(max(iou, 0), 1), abs=1e-5)


def to_transformers(state):
    """A ``Sam`` state dict under the names of transformers' ``SamModel``."""
    rules = [
        (r"^image_encoder\.", "vision_encoder."),
        (r"patch_embed\.proj\.", "patch_embed.projection."),
        (r"\.blocks\.", ".layers."),
        (r"neck\.0\.", "neck.conv1."),
        (r"neck\.1\.", "neck.layer_norm1."),
        (r"neck\.2\.", "neck.conv2."),
        (r"neck\.3\.", "neck.layer_norm2."),
        (r"\.norm(\d)\.", r".layer_norm\1."),
        (r"norm_final_attn", "layer_norm_final_attn"),
        (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
        (r"point_embeddings\.", "point_embed."),
        (r"mask_downscaling\.0\.", "mask_embed.conv1."),
        (r"mask_downscaling\.1\.", "mask_embed.layer_norm1."),
        (r"mask_downscaling\.3\.", "mask_embed.conv2."),
        (r"mask_downscaling\.4\.", "mask_embed.layer_norm2."),
        (r"mask_downscaling\.6\.", "mask_embed.conv3."),
        (r"output_upscaling\.0\.", "upscale_conv1."),
        (r"output_upscaling\.1\.", "upscale_layer_norm."),
        (r"output_upscaling\.3\.", "upscale_conv2."),
        (r"(mlps\.\d|prediction_head)\.layers\.0\.", r"\1.proj_in."),
        (r"(mlps\.\d|prediction_head)\.layers\.1\.", r"\1.layers.0."),
        (r"(mlps\.\d|prediction_head)\.layers\.2\.", r"\1.proj_out."),
    ]
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    matrix = renamed["prompt_encoder.shared_embedding.positional_embedding"]
    return renamed | {"shared_image_embedding.positional_embedding": matrix}


@pytest.fixture(scope="session")
def reference(folder):
    """transformers' model with the same weights, and its processor."""
    from transformers import SamConfig, SamModel, SamProcessor
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    side = TINY.image_size
    vision = {
        "hidden_size": TINY.embed_dim,
        "output_channels": TINY.out_chans,
        "num_hidden_layers": TINY.depth,
        "num_attention_heads": TINY.num_heads,
        "image_size": side,
        "window_size": TINY.window_size,
        "global_attn_indexes": list(TINY.global_attn_indexes),
        "num_pos_feats": TINY.out_chans // 2,
    }
    prompt = {"hidden_size": TINY.out_chans, "image_size": side}
    decoder = {
        "hidden_size": TINY.out_chans,
        "mlp_dim": TINY.decoder_mlp_dim,
        "num_attention_heads": TINY.decoder_num_heads,
        "iou_head_hidden_dim": TINY.iou_head_hidden_dim,
    }
    config = SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )
    model = SamModel(config).eval()
    model.load_state_dict(to_transformers(load_sam(SamSource(folder)).state_dict()))
    images = SamImageProcessorPil(
        size={"longest_edge": side}, pad_size={"height": side, "width": side}
    )
    return model, SamProcessor(images)


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", PROMPTS)
def test_equals_transformers_with_converted_weights(sam, reference, kind, multimask):
    model, processor = reference
    box, points = PROMPTS[kind]
    request = Segment(picture(48, 70), box, points, multimask)
    prompts = {}
    if points:
        prompts["input_points"] = [[[[p.x, p.y] for p in points]]]
        prompts["input_labels"] = [[[int(p.positive) for p in points]]]
    if box:
        prompts["input_boxes"] = [[list(box)]]
    inputs = processor(images=request.image.pixels, return_tensors="pt", **prompts)
    sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    with torch.inference_mode():
        outputs = model(**inputs, multimask_output=multimask)
    masks = processor.post_process_masks(outputs.pred_masks, *sizes, binarize=False)[0][0]
    best = outputs.iou_scores[0, 0].argmax()
    (answer,) = sam.segment([request])
    np.testing.assert_allclose(answer.logits, masks[best].numpy(), atol=1e-4)
    assert answer.iou == pytest.approx(float(outputs.iou_scores[0, 0, best].clamp(0, 1)), abs=1e-4)


def mixed_requests():
    """Every kind of prompt on pictures of several sizes, some pictures twice, order mixed."""
    sizes = [(48, 70), (64, 64), (90, 40), (48, 70)]
    requests = [
        Segment(picture(*size, seed=seed), box, points[:count], multimask)
        for seed, size in enumerate(sizes)
        for box, points in PROMPTS.values()
        for count, multimask in ((1, True), (3, False))
    ]
    return [requests[i] for i in np.random.default_rng(3).permutation(len(requests))]


@pytest.mark.parametrize("max_batch", [1, 3, 64])
def test_a_batch_equals_single_requests(folder, max_batch):
    requests = mixed_requests()
    together = Sam(folder, device="cpu", max_batch=max_batch).segment(requests)
    alone = Sam(folder, device="cpu")
    for request, answer in zip(requests, together, strict=True):
        (single,) = alone.segment([request])
        np.testing.assert_allclose(answer.logits, single.logits, atol=2e-5)
        assert answer.iou == pytest.approx(single.iou, abs=1e-5)


@pytest.mark.parametrize("box", [None, BOX])
def test_prompts_of_unlike_numbers_of_points_are_one_pass_and_see_their_own_alone(
    folder, box, monkeypatch
):
    points = [Point(5.5 + 7 * i, 40.5 - 3 * i, i % 3 != 2) for i in range(7)]
    requests = [Segment(picture(48, 70), box, tuple(points[:count])) for count in (2, 7, 1, 4)]
    sam, passes = Sam(folder, device="cpu"), []

    def counted(model, embeddings, *more):
        passes.append(len(embeddings))
        return decode_masks(model, embeddings, *more)

    monkeypatch.setattr("int_bench.backbones.sam.model.decode_masks", counted)
    together = sam.segment(requests)
    monkeypatch.undo()
    assert passes == [4]
    for request, answer in zip(requests, together, strict=True):
        (single,) = sam.segment([request])
        np.testing.assert_allclose(answer.logits, single.logits, atol=2e-5)
        assert answer.iou == pytest.approx(single.iou, abs=1e-5)
    other = Segment(picture(48, 70), box, (*points[:1], Point(60.5, 5.5, True)))
    far, near = sam.segment([other, requests[1]])[0], sam.segment([requests[2], requests[1]])[0]
    assert np.abs(far.logits - near.logits).max() > 1e-3  # a point that is one does matter


def test_one_request_per_call_is_bit_identical_whatever_came_before(folder):
    requests = mixed_requests()
    fresh = [Sam(folder, device="cpu").segment([request])[0] for request in requests]
    cached, forgetful = Sam(folder, device="cpu"), Sam(folder, device="cpu", cache_mb=0)
    for sam in (cached, cached, forgetful):
        for request, expected in zip(requests, fresh, strict=True):
            (answer,) = sam.segment([request])
            assert np.array_equal(answer.logits, expected.logits)
            assert answer.iou == expected.iou


def test_counts_what_it_computes(folder):
    sam = Sam(folder, device="cpu")
    requests = [Segment(picture(48, 70, seed), BOX) for seed in (0, 1, 0, 0)]
    sam.segment(requests)
    assert sam.counters == {"images_encoded": 2, "rows": 4, "embedding_hits": 0}
    sam.segment(requests[:1])
    assert sam.counters == {"images_encoded": 2, "rows": 5, "embedding_hits": 1}


def test_embeddings_are_forgotten_at_the_bound(folder):
    sam = Sam(folder, device="cpu", cache_mb=0)
    for seed in (0, 1, 0):
        sam.segment([Segment(picture(48, 70, seed), BOX)])
    assert sam.counters["images_encoded"] == 3


def test_multimask_takes_the_highest_predicted_iou(sam):
    request = Segment(picture(48, 70), BOX, (), multimask=True)
    predictor = SamPredictor(sam.loaded)
    predictor.set_image(request.image.pixels)
    masks, ious, _ = predictor.predict(box=np.array(BOX), return_logits=True)
    (answer,) = sam.segment([request])
    distances = [np.abs(mask - answer.logits).max() for mask in masks]
    assert int(np.argmin(distances)) == int(np.argmax(ious))
    assert sorted(distances)[1] > 0.01


def test_multimask_never_takes_the_single_mask(tmp_path):
    sam = Sam(str(write_tiny_sam(tmp_path)), device="cpu")
    ours, single = (Segment(picture(48, 70), BOX, (), choice) for choice in (True, False))
    before = sam.segment([ours])[0]
    sam.loaded.mask_decoder.iou_prediction_head.layers[-1].bias[0] += 100
    assert sam.segment([single])[0].iou == 1, "the single mask now has the highest prediction"
    assert np.array_equal(sam.segment([ours])[0].logits, before.logits)


def test_squares_have_the_numbers_of_the_librarys_preprocessing(sam):
    pictures = [picture(48, 70), picture(90, 40, seed=1), picture(64, 64, seed=2)]
    squares = sam._squares(pictures)
    assert squares.permute(0, 2, 3, 1).is_contiguous()
    for square, image in zip(squares, pictures, strict=True):
        resized = torch.as_tensor(sam._resize_picture(image)).permute(2, 0, 1)
        assert torch.equal(square, sam.loaded.preprocess(resized))


@pytest.mark.parametrize("size", [(48, 70), (90, 40), (64, 64), (7, 300), (128, 128)])
def test_masks_are_enlarged_as_the_library_does(sam, size):
    request = Segment(picture(*size), BOX)
    mask = torch.randn(16, 16, generator=torch.Generator().manual_seed(0))
    longest = max(size)
    inside = [int(side * sam.loaded.image_encoder.img_size / longest + 0.5) for side in size]
    expected = sam.loaded.postprocess_masks(mask[None, None], inside, size)[0, 0]
    for _ in range(2):  # as it is made, and as it is kept
        torch.testing.assert_close(sam._enlarged(request, mask), expected, rtol=0, atol=2e-6)


def test_no_prompt_is_refused(sam):
    with pytest.raises(ValueError, match="neither a box nor a point"):
        sam.segment([Segment(picture(8, 8))])


def test_nothing_asked_nothing_loaded(tmp_path):
    sam = Sam(str(tmp_path / "absent"), device="cpu")
    assert sam.segment([]) == []
    assert sam.identity["dtype"] == "float32"
    json.dumps(sam.identity)


def test_a_published_size_from_a_pth_file(tmp_path, monkeypatch):
    import segment_anything

    def build(checkpoint=None):
        assert checkpoint is None, "the registry's own loading unpickles anything"
        return build_sam(TINY)

    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", build)
    expected = randomise(build_sam(TINY), seed=5)
    torch.save(expected.state_dict(), tmp_path / "sam.pth")
    model = load_sam(SamSource(str(tmp_path / "sam.pth"), "vit_b"))
    assert torch.equal(model.mask_decoder.iou_token.weight, expected.mask_decoder.iou_token.weight)


def test_a_published_file_that_is_missing_comes_with_its_download(tmp_path):
    sam = Sam(str(tmp_path / "models" / "sam_h.pth"), model="vit_h", device="cpu")
    download = (
        rf"curl --create-dirs -o {tmp_path}/models/sam_h\.pth https://.*/sam_vit_h_4b8939\.pth`"
    )
    with pytest.raises(MissingAsset, match=download):
        sam.segment([Segment(picture(8, 8), BOX)])


def test_a_model_that_does_not_fit_is_one_error_and_not_one_a_sample(folder, monkeypatch):
    forget_loaded()
    failure = torch.AcceleratorError("CUDA error: out of memory")
    monkeypatch.setattr(torch.nn.Module, "to", lambda *args: (_ for _ in ()).throw(failure))
    with pytest.raises(UsageError, match=r"segmenter .* does not fit into memory"):
        Sam(folder, device="cpu").segment([Segment(picture(48, 70), BOX)])


def test_a_picture_too_thin_for_the_square_is_named(sam):
    with pytest.raises(SampleError, match="1000 x 4 pixels is too thin for the segmenter"):
        sam.segment([Segment(picture(4, 1000), BOX)])


def test_the_encoder_runs_in_half_precision(folder):
    request = Segment(picture(48, 70), BOX, POINTS)
    half, full = Sam(folder, device="cpu", dtype="bfloat16"), Sam(folder, device="cpu")
    answer, expected = half.segment([request])[0], full.segment([request])[0]
    kinds = {p.dtype for p in half.loaded.image_encoder.blocks[0].attn.parameters()}
    assert kinds == {torch.bfloat16}
    assert half.loaded.image_encoder.pos_embed.dtype == torch.float32  # where sums are kept
    assert half.loaded.mask_decoder.iou_token.weight.dtype == torch.float32
    assert answer.logits.dtype == np.float32
    assert 0 < np.abs(answer.logits - expected.logits).max() < 0.3 * expected.logits.std()


def test_positions_as_channels_are_the_positions_as_a_bias():
    """What half precision on CUDA computes, here in double precision: a rounded sum apart."""
    torch.manual_seed(0)
    layer = Attention(64, 4, use_rel_pos=True, input_size=(7, 5)).double().requires_grad_(False)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    fuse_attention(layer)
    x = torch.randn(2, 7, 5, 64, dtype=torch.float64)
    exact = layer(x)
    attention.widen(layer)
    layer.tables.clear()
    assert layer.wide == 32  # 16 of a head, 12 of its places, and what makes it a multiple of eight
    torch.testing.assert_close(layer(x), exact, rtol=0, atol=1e-12)
