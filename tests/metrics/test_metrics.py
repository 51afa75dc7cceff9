"""Protocols and measures: by hand, against PySODMetrics called directly, and at the edges."""

import dataclasses

import numpy as np
import py_sod_metrics
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from int_bench.errors import SampleError
from int_bench.metrics.maps import LevelMap, level_map, resize_nearest
from int_bench.metrics.metrics import METRICS
from int_bench.metrics.reference import measure
from int_bench.metrics.rules import FAMILY, NATIVE, PROTOCOLS
from int_bench.metrics.summary import aggregate

SMALL = dataclasses.replace(FAMILY, size=(48, 48))
"""The family's rules at a size that is quick to score."""


def box(shape=(20, 30), rows=(5, 15), columns=(10, 20)):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def directly(prediction, truth, beta2=1.0):
    """PySODMetrics as its users call it: uint8 in, its own scaling and thresholding."""
    handlers = {
        "f": py_sod_metrics.FmeasureHandler(with_dynamic=True, with_adaptive=True, beta=0.3),
        "iou": py_sod_metrics.IOUHandler(with_dynamic=False, with_adaptive=False, with_binary=True),
        "dice": py_sod_metrics.DICEHandler(
            with_dynamic=False, with_adaptive=False, with_binary=True
        ),
    }
    metrics = {
        "fm": py_sod_metrics.FmeasureV2(handlers),
        "em": py_sod_metrics.Emeasure(),
        "sm": py_sod_metrics.Smeasure(),
        "wfm": py_sod_metrics.WeightedFmeasure(beta=beta2),
        "mae": py_sod_metrics.MAE(),
    }
    for metric in metrics.values():
        metric.step(prediction, truth.astype(np.uint8) * 255)
    found = {key: metric.get_results() for key, metric in metrics.items()}
    f, e = found["fm"]["f"], found["em"]["em"]
    return {
        "MAE": found["mae"]["mae"],
        "adpF": f["adaptive"],
        "meanF": f["dynamic"].mean(),
        "maxF": f["dynamic"].max(),
        "wF": found["wfm"]["wfm"],
        "adpE": e["adp"],
        "meanE": e["curve"].mean(),
        "maxE": e["curve"].max(),
        "S": found["sm"]["sm"],
        "IoU": found["fm"]["iou"]["binary"],
        "Dice": found["fm"]["dice"]["binary"],
    }


def assert_same(values, expected, tolerance=1e-12):
    for name in METRICS:
        assert values[name] == pytest.approx(expected[name], abs=tolerance, rel=0), name


def blob(seed, shape):
    """A hard or soft map and a truth that overlap in part; neither empty nor full."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / np.array(shape)[:, None, None]
    centre = rng.uniform(0.3, 0.7, 2)
    distance = np.hypot(y - centre[0], x - centre[1])
    truth = distance < rng.uniform(0.15, 0.3)
    soft = np.clip(
        1.4 - 3 * np.roll(distance, rng.integers(-3, 4), 1) + rng.normal(0, 0.05, shape), 0, 1
    )
    return (soft * 255).astype(np.uint8), truth


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("hard", [True, False])
def test_native_equals_the_library_called_directly(seed, hard):
    prediction, truth = blob(seed, (37 + seed, 52 - seed))
    if hard:
        prediction = (prediction > 128).astype(np.uint8) * 255
    assert_same(NATIVE.score(prediction, truth).measures.values, directly(prediction, truth))


@pytest.mark.parametrize("seed", range(3))
def test_family_equals_the_library_on_resized_maps(seed):
    prediction, truth = blob(seed, (37 + seed, 52 - seed))
    square = [
        np.asarray(Image.fromarray(array).resize((48, 48), Image.Resampling.NEAREST))
        for array in (prediction, truth.astype(np.uint8) * 255)
    ]
    expected = directly(square[0], square[1] > 128, beta2=0.3)
    assert_same(SMALL.score(prediction, truth).measures.values, expected)


def test_the_built_in_protocols_are_what_the_design_says():
    assert list(PROTOCOLS) == ["native", "family"]
    assert (NATIVE.size, NATIVE.weighted_beta2, NATIVE.printed_f) == (None, 1.0, "adpF")
    assert (FAMILY.size, FAMILY.weighted_beta2, FAMILY.printed_f) == ((1024, 1024), 0.3, "wF")
    assert "beta^2=0.3" in FAMILY.text
    assert "1024x1024" in FAMILY.text


def test_by_hand():
    """Truth: 100 of 600 pixels. Prediction: its left half and as many pixels elsewhere."""
    truth = box()
    prediction = box(columns=(10, 15)) | box(rows=(0, 5), columns=(0, 10))
    values = NATIVE.score(prediction, truth).measures.values
    assert values["MAE"] == pytest.approx(100 / 600, abs=1e-15)
    assert values["IoU"] == pytest.approx(50 / 150)
    assert values["Dice"] == pytest.approx(0.5)
    # precision = recall = 1/2, whatever beta is
    assert values["adpF"] == pytest.approx(0.5)
    assert values["maxF"] == pytest.approx(0.5)
    # 255 thresholds see the mask; threshold 0 sees everything: precision 1/6, recall 1
    everything = 1.3 * (1 / 6) / (0.3 / 6 + 1)
    assert values["meanF"] == pytest.approx((255 * 0.5 + everything) / 256)

    # E by its definition: bias matrices around their means, alignment squared
    def alignment(p, t):
        p, t = p - p.mean(), t - t.mean()
        return ((2 * p * t / (p * p + t * t) + 1) ** 2 / 4).sum() / (truth.size - 1)

    e = alignment(prediction.astype(float), truth.astype(float))
    assert values["adpE"] == pytest.approx(e)
    assert values["meanE"] == pytest.approx((255 * e + 0.25 * 600 / 599) / 256)


def test_a_perfect_mask():
    values = NATIVE.score(box(), box()).measures.values
    for name in ("adpF", "maxF", "IoU", "Dice", "S", "wF"):
        assert values[name] == pytest.approx(1, abs=1e-9), name
    assert values["MAE"] == 0
    assert values["meanE"] == pytest.approx((255 + 0.25) / 256 * 600 / 599)


def test_an_empty_prediction_scores_as_everything_in_f_only():
    empty, full = np.zeros((20, 30), bool), np.ones((20, 30), bool)
    values = NATIVE.score(empty, box()).measures.values
    as_full = NATIVE.score(full, box()).measures.values
    assert values["adpF"] == as_full["adpF"] == pytest.approx(1.3 / 6 / (0.3 / 6 + 1))
    assert values["wF"] == pytest.approx(0, abs=1e-12)
    assert values["MAE"] == pytest.approx(1 / 6)
    assert values["IoU"] == values["Dice"] == 0
    assert as_full["MAE"] == pytest.approx(5 / 6)


def test_empty_and_full_ground_truth():
    empty, full = np.zeros((20, 30), bool), np.ones((20, 30), bool)
    nothing = NATIVE.score(empty, empty).measures.values
    assert nothing["S"] == 1
    assert nothing["MAE"] == 0
    assert nothing["maxE"] == pytest.approx(600 / 599)
    assert [nothing[name] for name in ("adpF", "wF", "IoU", "Dice")] == [0, 0, 0, 0]
    assert NATIVE.score(box(), empty).measures.values["S"] == pytest.approx(5 / 6)
    everything = NATIVE.score(full, full).measures.values
    assert everything["S"] == everything["adpF"] == everything["IoU"] == 1
    assert NATIVE.score(box(), full).measures.values["S"] == pytest.approx(1 / 6)


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_constant_map_is_taken_as_it_is(level):
    truth = box()
    score = NATIVE.score(np.full((20, 30), level, np.uint8), truth)
    grey = level / 255
    assert score.notes == ()
    assert score.measures.values["MAE"] == pytest.approx(grey * 5 / 6 + (1 - grey) / 6)
    same = NATIVE.score(np.full((20, 30), grey), truth).measures.values
    assert_same(same, score.measures.values)


def test_a_full_float_map_is_not_mistaken_for_an_empty_one():
    """The library's own scaling divides 1.0 by 255."""
    values = NATIVE.score(np.ones((20, 30), np.float32), box()).measures.values
    assert_same(values, NATIVE.score(np.ones((20, 30), bool), box()).measures.values)


def test_stretching_is_said_and_can_be_switched_off():
    prediction = np.where(box(), 200, 50).astype(np.uint8)
    stretched = NATIVE.score(prediction, box())
    plain = dataclasses.replace(NATIVE, stretch=False).score(prediction, box())
    assert stretched.notes == ("stretched to the full range",)
    assert stretched.measures.values["MAE"] == 0
    assert plain.notes == ()
    assert plain.measures.values["MAE"] == pytest.approx((55 * 100 + 50 * 500) / 255 / 600)


# An object whose centroid lies in the last row or column leaves quadrants of no pixels.
EDGES = {
    "last column": box(columns=(29, 30)),
    "last row": box(rows=(19, 20)),
    "corner": box(rows=(19, 20), columns=(29, 30)),
    "one row": np.array([[False, True, True, False]]),
    "one column": np.array([[False], [True]]),
    "all but one": ~box(rows=(0, 1), columns=(0, 1)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("protocol", [NATIVE, SMALL], ids=lambda p: p.name)
def test_every_value_is_finite_at_the_edges(name, protocol):
    truth = EDGES[name]
    rng = np.random.default_rng(0)
    for prediction in (truth, ~truth, truth & False, truth | True, rng.random(truth.shape)):
        values = protocol.score(prediction, truth).measures.values
        assert all(np.isfinite(values[key]) for key in METRICS), values


def test_s_of_an_object_in_the_last_column_by_its_definition():
    truth = box(columns=(29, 30))
    y = truth.mean()
    # object part: all right; region part: the two left quadrants cover everything and agree
    assert NATIVE.score(truth, truth).measures.values["S"] == pytest.approx(1, abs=1e-9)
    nothing = NATIVE.score(truth & False, truth).measures.values["S"]
    assert nothing == pytest.approx(0.5 * (1 - y), abs=1e-9)


def test_a_single_pixel_cannot_be_scored():
    with pytest.raises(SampleError, match="1 pixels"):
        NATIVE.score(np.ones((1, 1), bool), np.ones((1, 1), bool))


def test_another_size_is_brought_to_the_ground_truth_and_said():
    truth = box((40, 60), (10, 30), (20, 40))
    half = NATIVE.score(box(), truth)
    assert half.notes == ("resized from 30x20",)
    assert half.measures.values["IoU"] == 1
    assert FAMILY.score(box(), box()).notes == ()


def test_soft_maps_are_resized_smoothly_and_hard_ones_not():
    soft = LevelMap(np.linspace(0, 1, 30)[None, :].repeat(20, 0))
    assert np.unique(soft.resized((40, 61)).levels()).size > 30
    assert set(np.unique(level_map(box()).resized((33, 44)).levels())) == {0, 1}
    assert np.unique(soft.resized((40, 61), nearest=True).levels()).size == 30


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 1500), st.integers(1, 1500), st.sampled_from([32, 256, 1024]))
def test_nearest_is_pillows_for_powers_of_two(h, w, side):
    """Elsewhere a sampling point can fall between two pixels, and Pillow's rounding decides."""
    for height, width in ((h, 1), (1, w)):
        levels = (np.arange(height * width) % 251).astype(np.uint8).reshape(height, width)
        theirs = Image.fromarray(levels).resize((side, side), Image.Resampling.NEAREST)
        assert np.array_equal(resize_nearest(levels, (side, side)), np.asarray(theirs))


BAD = {
    "nan": np.array([[0.0, np.nan]]),
    "infinite": np.array([[0.0, np.inf]]),
    "negative": np.array([[-0.1, 1.0]]),
    "above one": np.array([[0.0, 255.0]]),
    "colour": np.zeros((2, 2, 3), np.uint8),
    "integers": np.zeros((2, 2), np.int32),
    "nothing": np.zeros((0, 2), np.uint8),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_map_is_refused(name):
    with pytest.raises(SampleError):
        level_map(BAD[name])


def test_aggregate_takes_maxima_of_the_mean_curve():
    """Two maps whose best thresholds differ: one threshold serves both worse than each its own."""
    truth = box()
    dark = np.where(truth, 90, 30).astype(np.uint8)
    bright = np.where(truth, 250, 180).astype(np.uint8)
    raw = dataclasses.replace(NATIVE, stretch=False)
    measures = [raw.score(prediction, truth).measures for prediction in (dark, bright)]
    found = aggregate([measures])
    assert [m.values["maxF"] for m in measures] == [1, 1]
    assert found["maxF"] < 0.7
    curve = (measures[0].f_curve + measures[1].f_curve) / 2
    assert found["maxF"] == pytest.approx(curve.max(), abs=1e-15)
    assert found["meanF"] == pytest.approx(curve.mean(), abs=1e-15)
    for name in ("MAE", "S", "wF", "adpE"):
        mean = (measures[0].values[name] + measures[1].values[name]) / 2
        assert found[name] == pytest.approx(mean, abs=1e-15)


def test_nothing_scored_has_no_values_rather_than_nan():
    assert aggregate([]) == aggregate([[None, None]]) == {}


def test_curves_are_by_falling_threshold():
    measures = measure(box().astype(float), box(), 1.0)
    assert measures.f_curve.shape == measures.e_curve.shape == (256,)
    assert measures.f_curve[0] == pytest.approx(1)
    assert measures.f_curve[-1] == pytest.approx(1.3 / 6 / (0.3 / 6 + 1))
