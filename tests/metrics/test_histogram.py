"""The fast measures against PySODMetrics: to 1e-12 on everything, ties and edges included."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int_bench.metrics import histogram, reference
from int_bench.metrics.maps import LevelMap, level_map
from int_bench.metrics.metrics import METRICS
from int_bench.metrics.rules import NATIVE


def assert_equal(prediction: LevelMap, truth, beta2=1.0):
    fast = histogram.against(truth)(prediction, beta2)
    slow = reference.against(truth)(prediction, beta2)
    for name in METRICS:
        assert fast.values[name] == pytest.approx(slow.values[name], abs=1e-12, rel=0), name
    np.testing.assert_allclose(fast.f_curve, slow.f_curve, rtol=0, atol=1e-12)
    np.testing.assert_allclose(fast.e_curve, slow.e_curve, rtol=0, atol=1e-12)


def truths(rng, shape):
    """Scattered pixels (many equal distances), one box, its complement, both ends, half of it."""
    scattered = rng.random(shape) < rng.choice([0.01, 0.1, 0.5])
    box = np.zeros(shape, bool)
    y, x = (int(rng.integers(0, side)) for side in shape)
    box[y : y + int(rng.integers(1, shape[0] + 1)), x : x + int(rng.integers(1, shape[1] + 1))] = (
        True
    )
    half = np.zeros(shape, bool)
    half[:, : shape[1] // 2] = True
    return {
        "scattered": scattered,
        "box": box,
        "hole": ~box,
        "half": half,
        "empty": box & False,
        "full": box | True,
    }


def maps(rng, truth):
    """Hard, soft, two-level, noisy, nearly right, and constant in places."""
    shape = truth.shape
    shifted = np.roll(truth, (1, 2), (0, 1))
    patches = np.full(shape, 51, np.uint8)
    patches[: shape[0] // 2] = rng.integers(0, 256, patches[: shape[0] // 2].shape)
    return {
        "hard": shifted,
        "inverse": ~shifted,
        "soft": rng.integers(0, 256, shape).astype(np.uint8),
        "two levels": np.where(shifted, 180, 40).astype(np.uint8),
        "few levels": (shifted * 100 + rng.integers(0, 3, shape)).astype(np.uint8),
        "patches": patches,
        "right": truth,
        "nothing": truth & False,
        "everything": truth | True,
        "grey": np.full(shape, 128, np.uint8),
    }


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(2, 40))
def test_equal_on_every_kind_of_truth_and_map(seed, height, width):
    rng = np.random.default_rng(seed)
    for truth in truths(rng, (height, width)).values():
        for prediction in maps(rng, truth).values():
            plain = level_map(prediction)
            assert_equal(plain, truth, beta2=float(rng.choice([0.3, 1.0])))
            assert_equal(plain.stretched(), truth)


@pytest.mark.parametrize("seed", range(4))
def test_equal_at_the_size_of_photographs(seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:301, :420]
    centre = rng.uniform(100, 250, 2)
    distance = np.hypot(y - centre[0], x - centre[1]) + 8 * np.sin(x / 9) + 6 * np.cos(y / 7)
    truth = distance < 70
    soft = np.clip(255 * (1.3 - distance / 80) + rng.normal(0, 20, truth.shape), 0, 255)
    assert_equal(level_map(soft.astype(np.uint8)).stretched(), truth)
    assert_equal(level_map(np.roll(truth, 5, 0)), truth, beta2=0.3)


@pytest.mark.parametrize("size", [(64, 65), (7, 501), (3, 2)])
def test_counting_of_very_large_maps_is_the_same(monkeypatch, size):
    rng = np.random.default_rng(3)
    codes, truth = rng.integers(0, 256, size).astype(np.uint8), rng.random(size) < 0.3
    by_opencv = histogram.against(truth)(level_map(codes), 1.0)
    monkeypatch.setattr(histogram, "_COUNTED_EXACTLY", 0)
    assert histogram.against(truth)(level_map(codes), 1.0).values == by_opencv.values


@pytest.mark.parametrize("pixel", [(0, 0), (699, 899), (0, 899), (350, 450)])
def test_distances_beyond_the_table(pixel):
    truth = np.zeros((700, 900), bool)
    truth[pixel] = True
    rng = np.random.default_rng(0)
    assert_equal(level_map(rng.integers(0, 256, truth.shape).astype(np.uint8)), truth)


def test_a_tie_at_the_adaptive_threshold_is_decided_alike():
    """A quarter of the pixels at 1 and the rest at 1/3: twice the mean is 1, a level of the map."""
    truth = np.zeros((30, 31), bool)
    truth[5:20, 5:20] = True
    for high, low, share in ((255, 85, 0.25), (200, 50, 1 / 3), (240, 80, 0.25), (60, 20, 0.25)):
        codes = np.where(np.random.default_rng(0).random(truth.shape) < share, high, low)
        assert_equal(level_map(codes.astype(np.uint8)), truth)


def test_float_maps_go_to_the_reference():
    rng = np.random.default_rng(0)
    truth = rng.random((20, 30)) < 0.3
    prediction = rng.random((20, 30))
    fast = NATIVE.score(prediction, truth).measures
    slow = dataclasses.replace(NATIVE, backend="reference").score(prediction, truth).measures
    assert fast.values == slow.values


def test_the_backend_is_a_choice(monkeypatch):
    calls = []
    against = reference.against

    def counting(truth):
        calls.append(truth.shape)
        return against(truth)

    monkeypatch.setattr(reference, "against", counting)
    small = dataclasses.replace(NATIVE, size=(8, 8), backend="reference")
    scorer = small.against(np.eye(20, dtype=bool))
    scorer.score(np.eye(20, dtype=bool))
    scorer.score(np.eye(5, dtype=bool))
    assert calls == [(8, 8)]
