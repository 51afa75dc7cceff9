"""The aligner against open_clip's own forward and a plain computation of Spatial CLIP."""

from dataclasses import replace

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch
from torchvision.transforms import InterpolationMode

from int_bench.backbones.clip.spatial import heat_maps, min_max, normalise, surgery_features
from int_bench.backbones.common.loading import forget_loaded
from int_bench.core.requests import Heatmap, Similarity
from int_bench.core.templates import CLIP_TEMPLATES
from tests.backbones.clip import plain_clip
from tests.backbones.clip.tiny_clip import (
    HEADS,
    IMAGE_SIZE,
    LAYERS,
    NAMES,
    PATCH_SIZE,
    aligner,
    picture,
)


def library(folder, size=IMAGE_SIZE):
    """open_clip's own model, squashing preprocess and tokenizer."""
    model, _, preprocess = open_clip.create_model_and_transforms(
        f"local-dir:{folder}", image_resize_mode="squash"
    )
    preprocess.transforms[0].size = (size, size)
    return model.eval(), preprocess, open_clip.get_tokenizer(f"local-dir:{folder}")


def text_features(model, tokenizer, name, templates):
    """The unit mean of unit features, by open_clip's own text tower one prompt at a time."""
    rows = []
    with torch.inference_mode():
        for template in templates:
            row = model.encode_text(tokenizer([template.format(name=name)]))[0].double()
            rows.append(row / row.norm())
    mean = torch.stack(rows).mean(0)
    return (mean / mean.norm()).numpy()


@pytest.mark.parametrize(
    ("size", "attention", "blocks", "quick"),
    [
        (IMAGE_SIZE, "kk", 2, False),
        (IMAGE_SIZE, "vv", 2, False),
        (IMAGE_SIZE, "kk", 1, True),
        (IMAGE_SIZE, "vv", LAYERS, True),
        (48, "kk", LAYERS, False),
        (48, "vv", 2, False),
        (16, "kk", 2, True),
    ],
)
def test_architecture_surgery_equals_a_plain_computation(
    folder, quick_folder, size, attention, blocks, quick
):
    model, _, _ = library(quick_folder if quick else folder)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        ours = surgery_features(model.visual, images, blocks, attention)
    options = {"patch": PATCH_SIZE, "heads": HEADS, "blocks": blocks, "attention": attention}
    for image, features in zip(images.double().numpy(), ours, strict=True):
        plain = plain_clip.tokens(model.state_dict(), image, quick_gelu=quick, **options)
        assert features.shape == (1 + (size // PATCH_SIZE) ** 2, 24)
        assert np.abs(plain).max() > 1
        np.testing.assert_allclose(features, plain, atol=3e-5)


def test_the_class_token_is_that_of_the_unchanged_model(folder):
    model, _, _ = library(folder)
    images = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        tokens = surgery_features(model.visual, images, 2, "kk")
        np.testing.assert_allclose(tokens[:, 0], model.encode_image(images), atol=1e-5)
        alone = surgery_features(model.visual, images, 2, "kk", class_token=False)
        np.testing.assert_allclose(alone, tokens[:, 1:], atol=1e-6)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_a_square_has_the_numbers_of_the_librarys_transform(folder, interpolation):
    model, preprocess, _ = library(folder)
    preprocess.transforms[0].interpolation = InterpolationMode(interpolation)
    model.visual.preprocess_cfg["interpolation"] = interpolation
    loaded = replace(aligner(folder).loaded, model=model)
    for image in (picture(60, 44), picture(20, 90)):
        expected = preprocess(PIL.Image.fromarray(image.pixels))
        assert torch.equal(loaded.square(image.pixels, IMAGE_SIZE), expected)


@pytest.mark.parametrize(
    ("size", "norm", "attention", "background"),
    [
        (None, "channel", "kk", ("leaves", "bark", "snake")),
        (None, "token", "vv", ("leaves", "bark", "snake")),
        (None, "token", "kk", ()),
        (48, "channel", "vv", ()),
        (48, "token", "kk", ("leaves",)),
    ],
)
def test_heat_map_equals_a_plain_computation(folder, size, norm, attention, background):
    request = Heatmap(picture(60, 44), ("frog", "camouflaged animal"), background)
    (ours,) = aligner(folder, size=size, norm=norm, attention=attention).heatmap([request])
    model, preprocess, tokenizer = library(folder, size or IMAGE_SIZE)
    image = preprocess(PIL.Image.fromarray(request.image.pixels)).double().numpy()
    features = plain_clip.tokens(
        model.state_dict(), image, patch=PATCH_SIZE, heads=HEADS, blocks=2, attention=attention
    )
    named = {name: text_features(model, tokenizer, name, CLIP_TEMPLATES) for name in (*NAMES, "")}
    plain = plain_clip.heat_map(
        features,
        [named[name] for name in request.foreground],
        [named[name] for name in background],
        named[""],
        norm,
    )
    assert ours.shape == ((size or IMAGE_SIZE) // PATCH_SIZE,) * 2
    assert ours.dtype == np.float32
    assert (ours.min(), ours.max()) == (0, 1)
    np.testing.assert_allclose(ours, plain, atol=2e-3 if norm == "token" else 5e-4)


def test_similarity_equals_the_librarys_forward(folder):
    pictures = [picture(60, 44, 0), picture(32, 32, 1), picture(20, 90, 2)]
    requests = [Similarity(image, name) for image in pictures for name in NAMES]
    model, preprocess, tokenizer = library(folder)
    with torch.inference_mode():
        images = torch.stack([preprocess(PIL.Image.fromarray(p.pixels)) for p in pictures])
        image_features, texts, _ = model(images, tokenizer(list(NAMES)))
    expected = (image_features @ texts.T).flatten().tolist()
    answers = aligner(folder).similarity(requests)
    assert np.ptp(expected) > 0.05
    assert answers == pytest.approx(expected, abs=1e-5)
    assert all(isinstance(answer, float) for answer in answers)


def test_a_tower_that_reads_more_than_its_class_token_keeps_the_librarys_forward(folder):
    """Here the mean over patches; the class token alone would give another cosine."""
    request = Similarity(picture(60, 44), "frog")
    (token,) = aligner(folder).similarity([request])
    loaded = aligner(folder).loaded
    loaded.model.visual.pool_type = "avg"
    squares = loaded.square(request.image.pixels, IMAGE_SIZE)[None]
    with torch.inference_mode():
        image = loaded.model.encode_image(squares, normalize=True)[0]
        text = loaded.model.encode_text(loaded.tokenizer(["frog"]), normalize=True)[0]
    (mean,) = aligner(folder).similarity([request])
    assert mean == pytest.approx(float(image @ text), abs=1e-5)
    assert abs(mean - token) > 1e-3


def mixed_requests():
    sizes = [(60, 44), (32, 32), (20, 90), (60, 44)]
    return [
        Heatmap(picture(*size, seed=seed), (name,), background)
        for seed, size in enumerate(sizes)
        for name in NAMES[:2]
        for background in ((), ("leaves", "bark"))
    ]


@pytest.mark.parametrize("max_batch", [1, 3, 32])
def test_a_batch_equals_single_requests(folder, max_batch):
    requests = mixed_requests()
    together = aligner(folder, max_batch=max_batch)
    alone = aligner(folder)
    for request, answer in zip(requests, together.heatmap(requests), strict=True):
        np.testing.assert_allclose(answer, alone.heatmap([request])[0], atol=1e-4)
    cosines = [Similarity(request.image, request.foreground[0]) for request in requests]
    singles = [alone.similarity([cosine])[0] for cosine in cosines]
    assert together.similarity(cosines) == pytest.approx(singles, abs=1e-6)


def test_one_request_per_call_is_bit_identical_whatever_came_before(folder):
    requests = mixed_requests()
    fresh = []
    for request in requests:
        forget_loaded()
        fresh.append(aligner(folder).heatmap([request])[0])
    cached, forgetful = aligner(folder), aligner(folder, cache_mb=0)
    for one in (cached, cached, forgetful):
        for request, expected in zip(requests, fresh, strict=True):
            assert np.array_equal(one.heatmap([request])[0], expected)


def test_a_size_leaves_no_trace_in_the_model(folder):
    requests = mixed_requests()[:1]
    before = aligner(folder).heatmap(requests)[0]
    model = aligner(folder).loaded.model
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    aligner(folder, size=64).heatmap(requests)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert np.array_equal(aligner(folder).heatmap(requests)[0], before)


def test_counts_what_it_computes(folder):
    one = aligner(folder)
    requests = [Heatmap(picture(32, 32, seed), ("frog",), ("bark",)) for seed in (0, 1, 0)]
    one.heatmap(requests)
    per_text = len(CLIP_TEMPLATES)
    # frog, bark and the empty text
    assert one.counters == {"rows": 3, "images_encoded": 2, "texts_encoded": 3 * per_text}
    one.heatmap([Heatmap(picture(32, 32, 0), ("snake", "frog"))])
    assert one.counters == {"rows": 4, "images_encoded": 2, "texts_encoded": 4 * per_text}
    one.similarity([Similarity(picture(32, 32, 0), "frog")] * 2)
    assert one.counters == {"rows": 6, "images_encoded": 3, "texts_encoded": 4 * per_text + 1}


def test_a_text_is_encoded_once_per_process(folder):
    request = Heatmap(picture(32, 32), ("frog",))
    aligner(folder).heatmap([request])
    variant = aligner(folder, size=64, norm="token", attention="vv", blocks=1)
    variant.heatmap([request])
    assert variant.counters["texts_encoded"] == 0


def test_what_was_never_loaded_is_not_loaded_to_be_forgotten(folder):
    model = aligner(folder)
    model.forget()
    assert "loaded" not in vars(model)


def test_templates_are_a_choice(folder):
    request = Heatmap(picture(60, 44), ("frog",))
    maps = {
        str(choice): aligner(folder, templates=choice).heatmap([request])[0]
        for choice in ("bare", "short", "surgery", ["a photo of a {name}."], list(CLIP_TEMPLATES))
    }
    assert np.array_equal(maps["short"], maps[str(list(CLIP_TEMPLATES))])
    assert len({values.tobytes() for values in maps.values()}) == 4


def test_the_surgery_ensemble_has_85_texts(folder):
    one = aligner(folder, templates="surgery")
    one.heatmap([Heatmap(picture(32, 32), ("frog",))])
    assert one.counters["texts_encoded"] == 2 * 85


def test_feature_surgery_by_hand():
    """Tokens (a, b, c) and text t with redundant r: (t - r) = (0.6, 0.8) - (0, 1)."""
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    maps = heat_maps(features, torch.tensor([[0.6, 0.8]]), torch.tensor([0.0, 1.0]))
    # scores 0.6, -0.2, 0.36 - 0.16 = 0.2
    torch.testing.assert_close(maps, torch.tensor([[1.0, 0.0, 0.5]]))


def test_norms_by_hand():
    features = torch.tensor([[3.0, 4.0], [4.0, 3.0]])
    torch.testing.assert_close(
        normalise(features, "channel"), torch.tensor([[0.6, 0.8], [0.8, 0.6]])
    )
    torch.testing.assert_close(normalise(features, "token"), torch.tensor([[0.6, 0.8], [0.8, 0.6]]))
    skewed = torch.tensor([[3.0, 0.0], [4.0, 2.0]])
    torch.testing.assert_close(normalise(skewed, "token"), torch.tensor([[0.6, 0.0], [0.8, 1.0]]))


def test_a_constant_map_is_zero_not_nan():
    assert min_max(torch.full((4,), 0.3)).tolist() == [0, 0, 0, 0]


def test_half_precision_runs(folder):
    request = Heatmap(picture(60, 44), ("frog",), ("bark",))
    half = aligner(folder, dtype="bfloat16")
    assert half.identity["dtype"] == "bfloat16"
    assert aligner(folder).identity["dtype"] == "float32"
    np.testing.assert_allclose(
        half.heatmap([request])[0], aligner(folder).heatmap([request])[0], atol=0.15
    )
    cosine = Similarity(request.image, "frog")
    assert half.similarity([cosine]) == pytest.approx(
        aligner(folder).similarity([cosine]), abs=0.02
    )


def test_no_foreground_is_refused(folder):
    with pytest.raises(ValueError, match="no foreground"):
        aligner(folder).heatmap([Heatmap(picture(8, 8), ())])
